"""Files and folders: where the workspace is, atomic writes, digests."""

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
from typing import Any

ABANDONED = 600
"""Seconds after which the writer of a partial file is assumed to have been killed."""


def workspace() -> Path:
    """The main workspace, which all experiments share and which outlives them.

    DVC runs some experiments in a temporary copy of the repository below it and sets ``DVC_ROOT``
    to the main one; outside DVC the working directory is the workspace. A stage of another project
    that calls a command here has set it, too: it does not count.
    """
    here = Path.cwd().resolve()
    root = Path(os.environ.get("DVC_ROOT") or here).resolve()
    is_copy = here.is_relative_to(root / ".dvc" / "tmp")
    return root if is_copy or not (here / ".dvc").is_dir() else here


def write_bytes(path: str | Path, content: bytes) -> None:
    """Writes a file atomically: readers see the old or the new content. Creates its folder.

    Several processes may write the same file at once: the last one wins.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with with_filename(partial), partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def with_filename(path: Path) -> Iterator[None]:
    """Adds the path to OSErrors that lack it, as those of writing to an open file do."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def _remove_abandoned(path: Path) -> None:
    """Removes the partial files of killed writers."""
    for partial in path.parent.glob(f".{escape(path.name)}.*.partial"):
        # another process may remove it at the same time
        with suppress(FileNotFoundError):
            if time.time() - partial.stat().st_mtime > ABANDONED:
                partial.unlink()


def newest_first(paths: Iterable[Path]) -> list[Path]:
    """Sorts paths by modification time; those that another process has deleted come last."""

    def modified(path: Path) -> float:
        try:
            return path.stat().st_mtime
        except FileNotFoundError:
            return 0.0

    return sorted(paths, key=modified, reverse=True)


def write_text(path: str | Path, text: str) -> None:
    """Writes UTF-8 text with Unix line ends."""
    write_bytes(path, text.encode())


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


def digest_of(*parts: bytes) -> str:
    """SHA-256 of byte strings, in hexadecimal; it depends on their boundaries."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


def digest_of_file(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def md5_of(content: bytes) -> str:
    """MD5 in hexadecimal, by which DVC and the publishers of datasets identify content."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def md5_of_file(path: str | Path) -> str:
    """MD5 of a file, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
