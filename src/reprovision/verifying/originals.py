"""The commit's own outputs, as far as this machine still has them, and DVC's digests of them."""

import json
import subprocess
import sys
from pathlib import Path

from reprovision.core.errors import UserError
from reprovision.core.files import md5_of, md5_of_file
from reprovision.core.git import git_or_none


class Originals:
    """The files of the commit's outputs, as far as this machine still has them.

    Args:
        root: the project's folder.
        cache: DVC's cache.
        scratch: a folder for what only Git has.
    """

    def __init__(self, root: Path, cache: Path, scratch: Path) -> None:
        self.root = root
        self.cache = cache
        self.scratch = scratch

    def files(self, path: str, md5: str) -> dict[str, Path] | None:
        """An output's files by their paths in it; None where they are gone."""
        if has_md5(self.root / path, md5):
            return files_of(self.root / path)
        if md5.endswith(".dir"):
            return self._folder(md5)
        file = self._cached(md5) or self._committed(path, md5)
        return {"": file} if file else None

    def _folder(self, md5: str) -> dict[str, Path] | None:
        listing = self._cached(md5)
        if listing is None:
            return None
        entries = json.loads(listing.read_text("utf-8"))
        found = {entry["relpath"]: self._cached(entry["md5"]) for entry in entries}
        return {name: file for name, file in found.items() if file}

    def _cached(self, md5: str) -> Path | None:
        path = self.cache / "files" / "md5" / md5[:2] / md5[2:]
        return path if path.is_file() else None

    def _committed(self, path: str, md5: str) -> Path | None:
        content = git_or_none("show", f"HEAD:./{path}")
        if content is None:
            return None
        file = self.scratch / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return file if has_md5(file, md5) else None


def has_md5(path: Path, md5: str) -> bool:
    """Whether a file or folder has the digest that DVC knows it by."""
    if not path.exists() or path.is_dir() != md5.endswith(".dir"):
        return False
    if path.is_file():
        return md5_of_file(path) == md5
    listing = [{"md5": md5_of_file(file), "relpath": name} for name, file in files_of(path).items()]
    return md5_of(json.dumps(listing, sort_keys=True).encode()) + ".dir" == md5


def files_of(path: Path) -> dict[str, Path]:
    """A folder's files by their paths in it, in DVC's order; a file has an empty one."""
    if path.is_file():
        return {"": path}
    files = (file for file in path.rglob("*") if file.is_file())
    return dict(sorted((file.relative_to(path).as_posix(), file) for file in files))


def cache_of(root: Path) -> Path:
    """The folder of a project's DVC cache."""
    told = subprocess.run(
        [sys.executable, "-m", "dvc", "cache", "dir"],
        capture_output=True, text=True, check=False, cwd=root,
    )  # fmt: skip
    if told.returncode:
        raise UserError(f"{root} is no DVC project ({told.stderr.strip()}): run it in one")
    return root / told.stdout.strip()
