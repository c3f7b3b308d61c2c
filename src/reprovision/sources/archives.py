"""Archives: described by name and MD5, kept in torchvision's layout, downloaded when missing."""

import socket
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Annotated

from filelock import FileLock
from pydantic import Field

from reprovision.core.errors import UserError
from reprovision.core.files import md5_of_file
from reprovision.core.params import Section


class Archive(Section):
    """A file to download.

    Attributes:
        file: its name, without folders.
        md5: in hexadecimal; a file that doesn't have it is never read.
    """

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$")]
    md5: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


PATIENCE = 30
"""Seconds without a byte after which a mirror is given up."""

Mirrors = list[Annotated[str, Field(pattern=r"^https?://[^\s]+/$")]]
Folder = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$", max_length=200)]


def obtain(archives: Sequence[Archive], folder: Path, mirrors: list[str]) -> None:
    """Sees to it that archives are in a folder, whole: what is missing or damaged is downloaded.

    Raises:
        UserError: no mirror could be reached, or the folder can't be written.
    """
    if not _wanting(archives, folder):
        return
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".download.lock"):
        # another experiment may have brought them while this one waited
        for archive in _wanting(archives, folder):
            if not _download(archive, folder, mirrors):
                break
    if wanting := _wanting(archives, folder):
        files = ", ".join(f"{archive.file} (MD5 {archive.md5})" for archive in wanting)
        state = "are damaged or missing" if len(wanting) > 1 else "is damaged or missing"
        raise UserError(
            f"{files} {state} in {folder} and could not be downloaded from "
            f"{' or '.join(mirrors)}: put the right files there by hand"
        )


def _wanting(archives: Sequence[Archive], folder: Path) -> list[Archive]:
    return [archive for archive in archives if not has_md5(folder / archive.file, archive.md5)]


def has_md5(path: Path, md5: str) -> bool:
    """Whether a file is there and whole."""
    return path.is_file() and md5_of_file(path) == md5


def _download(archive: Archive, folder: Path, mirrors: list[str]) -> bool:
    # two seconds to import, and only a first download needs it
    from torchvision.datasets.utils import download_url

    # it would wait for ever for a server that says nothing
    socket.setdefaulttimeout(PATIENCE)
    for mirror in mirrors:
        try:
            download_url(mirror + archive.file, str(folder), archive.file, archive.md5)
        except (OSError, RuntimeError, HTTPException) as error:
            print(f"{mirror}{archive.file}: {error}")
        else:
            return True
    return False
