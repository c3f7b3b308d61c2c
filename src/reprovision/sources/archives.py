"""Archives: identified by name and MD5, kept in torchvision's layout, downloaded if missing."""

import lzma
import socket
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Annotated

from filelock import FileLock
from pydantic import Field

from reprovision.core.errors import UserError
from reprovision.core.files import md5_of_file
from reprovision.core.yaml_files import Section

TIMEOUT = 30
"""Seconds without a byte after which a mirror is given up."""

Mirrors = Annotated[list[Annotated[str, Field(pattern=r"^https?://[^\s]+/$")]], Field(min_length=1)]
Folder = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$", max_length=200)]


class Archive(Section):
    """A file to download.

    Attributes:
        file: its name, without folders.
        md5: in hexadecimal; a file with another MD5 is never read.
    """

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$")]
    md5: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class DamagedError(Exception):
    """The content of an archive is not what its format demands."""


@contextmanager
def translate_errors(name: str) -> Iterator[None]:
    """Turns everything that reading a damaged or foreign archive raises into one sentence."""
    try:
        yield
    except (
        DamagedError,
        EOFError,
        OSError,  # of gzip and bz2, without a number; those of the system have one
        zlib.error,
        lzma.LZMAError,
        tarfile.TarError,
        zipfile.BadZipFile,
        RuntimeError,  # an encrypted zip, or one with an unknown compression
    ) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        problem = " ".join(str(error).split())
        raise UserError(
            f"{name} can't be read ({problem}), although its MD5 is the descriptor's: "
            "correct the descriptor"
        ) from error


def ensure_downloaded(archives: Sequence[Archive], folder: Path, mirrors: list[str]) -> None:
    """Downloads the archives that are missing or damaged in a folder.

    Raises:
        UserError: no mirror has one of them, or can be reached.
    """
    if not _missing(archives, folder):
        return
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".download.lock"):
        # another experiment may have downloaded them while this one waited
        for archive in _missing(archives, folder):
            if not _download(archive, folder, mirrors):
                break
    if missing := _missing(archives, folder):
        files = ", ".join(f"{archive.file} (MD5 {archive.md5})" for archive in missing)
        raise UserError(
            f"{folder} lacks {files}, and the download from {' or '.join(mirrors)} failed: "
            "put the files there by hand"
        )


def _missing(archives: Sequence[Archive], folder: Path) -> list[Archive]:
    def is_intact(archive: Archive) -> bool:
        path = folder / archive.file
        return path.is_file() and md5_of_file(path) == archive.md5

    return [archive for archive in archives if not is_intact(archive)]


def _download(archive: Archive, folder: Path, mirrors: list[str]) -> bool:
    # two seconds to import, and only a first download needs it
    from torchvision.datasets.utils import download_url

    # without it, a server that does not answer blocks for ever
    socket.setdefaulttimeout(TIMEOUT)
    for mirror in mirrors:
        try:
            download_url(mirror + archive.file, str(folder), archive.file, archive.md5)
        except (OSError, RuntimeError, HTTPException) as error:
            print(f"{mirror}{archive.file}: {error}")
        else:
            return True
    return False
