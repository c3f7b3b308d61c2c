"""Contents by the MD5 that dvc.lock names: DVC's cache, and files that are compared with it."""

import json
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from reprovision.core.errors import UserError
from reprovision.core.files import md5_of, md5_of_file

IGNORED = {"__pycache__", ".DS_Store"}
"""As .dvcignore has it."""


@cache
def cache_folder(root: Path) -> Path:
    """The folder of a project's DVC cache, wherever it is configured to be.

    Raises:
        UserError: the folder is not a DVC project.
    """
    return root / _dvc(root, "cache", "dir")


@cache
def has_remote(root: Path) -> bool:
    """Whether a project has a DVC remote; raises a UserError as `cache_folder` does."""
    return bool(_dvc(root, "remote", "list"))


def _dvc(root: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    if done.returncode:
        raise UserError(f"{root} is not a DVC project ({done.stderr.strip()}): run it in one")
    return done.stdout.strip()


def cached_file(root: Path, md5: str) -> Path | None:
    """The file in the cache that holds a content; None where the cache lacks it."""
    path = _cache_path(root, md5)
    return path if path.is_file() and not _is_damaged(path, md5) else None


def damaged_files(root: Path, md5: str) -> list[Path]:
    """The files in the cache of an output whose content is not the one that they are named after.

    DVC trusts a file's time, and would restore them again and again.
    """
    own = _cache_path(root, md5)
    if not own.is_file():
        return []
    if _is_damaged(own, md5):
        return [own]
    parts = json.loads(own.read_text("utf-8")) if md5.endswith(".dir") else []
    found = ((_cache_path(root, part["md5"]), part["md5"]) for part in parts)
    return [path for path, of_part in found if path.is_file() and _is_damaged(path, of_part)]


def _cache_path(root: Path, md5: str) -> Path:
    return cache_folder(root) / "files" / "md5" / md5[:2] / md5[2:]


def _is_damaged(path: Path, md5: str) -> bool:
    return md5_of_file(path) != md5.removesuffix(".dir")


def cached_files(root: Path, md5: str) -> dict[str, Path] | None:
    """The cached files of an output by their paths in it; None where the cache lacks any.

    An output that is a file has one entry with an empty path.
    """
    cached = cached_file(root, md5)
    if cached is None:
        return None
    if not md5.endswith(".dir"):
        return {"": cached}
    entries = json.loads(cached.read_text("utf-8"))
    found = {entry["relpath"]: cached_file(root, entry["md5"]) for entry in entries}
    files = {name: file for name, file in found.items() if file}
    return files if len(files) == len(found) else None


def files_of(path: Path) -> dict[str, Path]:
    """The files of a folder by their paths in it, in DVC's order; a file has an empty path."""
    if path.is_file():
        return {"": path}
    files = (f for f in path.rglob("*") if f.is_file() and IGNORED.isdisjoint(f.parts))
    return dict(sorted((file.relative_to(path).as_posix(), file) for file in files))


def has_content(path: Path, md5: str) -> bool:
    """Whether a file or folder has the content that dvc.lock names."""
    if not path.exists() or path.is_dir() != md5.endswith(".dir"):
        return False
    if path.is_file():
        return md5_of_file(path) == md5
    return md5_of_folder({name: md5_of_file(file) for name, file in files_of(path).items()}) == md5


def md5_of_folder(files: Mapping[str, str]) -> str:
    """What dvc.lock has of a folder, from the MD5 of each of its files by their paths in it."""
    listing = [{"md5": files[name], "relpath": name} for name in sorted(files)]
    return md5_of(json.dumps(listing, sort_keys=True).encode()) + ".dir"
