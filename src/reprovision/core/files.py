"""Files and folders: where the workspace is, whole-or-nothing writes, digests."""

import csv
import hashlib
import io
import json
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reprovision.core.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

ABANDONED = 600
"""Seconds after which nobody is writing a half-written file any more."""


def workspace() -> Path:
    """The main workspace: shared by all experiments, and still there when they are gone.

    DVC runs some experiments in a temporary copy of the repository and names the main one in
    ``DVC_ROOT``; outside DVC the working directory is the workspace.
    """
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()


def write_bytes(path: str | Path, content: bytes) -> None:
    """Writes a file so that it is whole, old or new, at any moment, creating its folder if need be.

    Several processes may write the same file at once: the last one wins.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _forget_killed(path)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with naming(partial), partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Names the file in the errors of writing to it: a full disk's own doesn't say where."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def _forget_killed(path: Path) -> None:
    """Removes what killed processes have left half-written of a file."""
    for partial in path.parent.glob(f".{escape(path.name)}.*.partial"):
        # another process may be writing or removing it just now
        with suppress(FileNotFoundError):
            if time.time() - partial.stat().st_mtime > ABANDONED:
                partial.unlink()


def newest_first(paths: Iterable[Path]) -> list[Path]:
    """Paths by the time of their last change; what another process has deleted comes last."""

    def changed(path: Path) -> float:
        try:
            return path.stat().st_mtime
        except FileNotFoundError:
            return 0.0

    return sorted(paths, key=changed, reverse=True)


def write_text(path: str | Path, text: str) -> None:
    """Writes UTF-8 text with Unix line ends, whole or not at all."""
    write_bytes(path, text.encode())


def write_png(path: str | Path, picture: "Image") -> None:
    """Writes a Pillow picture."""
    content = io.BytesIO()
    picture.save(content, "PNG")
    write_bytes(path, content.getvalue())


def write_json(path: str | Path, value: Any) -> None:
    """Writes JSON that people and `git diff` can read."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_csv(path: str | Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Writes comma-separated values with a header line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read_csv(path: str | Path) -> list[dict[str, str]]:
    """Reads comma-separated values with a header line: one dict a row, all values text.

    Raises:
        UserError: the file is something else.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} does not hold comma-separated values ({error}): "
            "run `dvc repro` to make it again"
        ) from error


def digest_of(*parts: bytes) -> str:
    """SHA-256 of some byte strings, in hexadecimal; their boundaries count."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


def digest_of_file(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def md5_of(content: bytes) -> str:
    """MD5 in hexadecimal: what DVC and the publishers of data sets know contents by."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def md5_of_file(path: str | Path) -> str:
    """MD5 of a file, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
