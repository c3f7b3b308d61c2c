"""Whether the outputs are those that dvc.lock describes, byte for byte.

DVC compares the time and size of a file before it reads it: a flipped bit on a disk, or an edit
that kept the time, is not noticed there, and must not become a registered model.
"""

from pathlib import Path

from reprovision.core.errors import UserError
from reprovision.results.cache import damaged_files, has_content
from reprovision.results.layout import LOCK, RECEIPT
from reprovision.results.lock import parse_lock


def require_intact() -> None:
    """Compares every output of the workspace with dvc.lock, where there is one.

    Raises:
        UserError: an output is missing, or another than dvc.lock has.
    """
    if not LOCK.exists():
        return
    for path, md5 in parse_lock(LOCK.read_bytes(), str(LOCK)).outputs().items():
        # the receipt is written after the check
        if path != RECEIPT.as_posix() and not has_content(Path(path), md5):
            raise UserError(_describe(path, md5))


def _describe(path: str, md5: str) -> str:
    damaged = damaged_files(Path.cwd(), md5)
    files = " and ".join(map(str, [*damaged, path]))
    copy = ", nor is its copy in DVC's cache" if damaged else ""
    return (
        f"{path} is not the file that {LOCK} describes{copy}: delete {files}, then run "
        "`uv run dvc repro`"
    )
