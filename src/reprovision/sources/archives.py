"""Archives: described by name and MD5, kept in torchvision's layout, downloaded when missing."""

import hashlib
from pathlib import Path
from typing import Annotated

from filelock import FileLock
from pydantic import Field

from reprovision.core.errors import UserError
from reprovision.core.params import Section


class Archive(Section):
    """A file to download.

    Attributes:
        file: its name, without folders.
        md5: in hexadecimal; a file that doesn't have it is never read.
    """

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    md5: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


Mirrors = list[Annotated[str, Field(pattern=r"^https?://[^\s]+/$")]]
Folder = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$")]


def obtain(archive: Archive, folder: Path, mirrors: list[str]) -> Path:
    """The path of a whole archive: what is there is used, what is missing or damaged downloaded.

    Raises:
        UserError: no mirror could be reached, or the folder can't be written.
    """
    path = folder / archive.file
    if has_md5(path, archive.md5):
        return path
    state = "damaged (its MD5 is wrong)" if path.exists() else "missing"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{archive.file}.lock"):
        # another experiment may have brought it while this one waited
        if has_md5(path, archive.md5) or _download(archive, folder, mirrors):
            return path
    raise UserError(
        f"{path} is {state} and could not be downloaded from {' or '.join(mirrors)}: "
        f"put the file there by hand (MD5 {archive.md5})"
    )


def has_md5(path: Path, md5: str) -> bool:
    """Whether a file is there and whole."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest() == md5


def _download(archive: Archive, folder: Path, mirrors: list[str]) -> bool:
    # two seconds to import, and only a first download needs it
    from torchvision.datasets.utils import download_url

    for mirror in mirrors:
        try:
            download_url(mirror + archive.file, str(folder), archive.file, archive.md5)
        except (OSError, RuntimeError) as error:
            print(f"{mirror}{archive.file}: {error}")
        else:
            return True
    return False
