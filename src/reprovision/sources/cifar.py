"""CIFAR-10 in its binary version: rows of one label byte and 3,072 pixel bytes.

The Python version of the same data is a pickle, which could run code when loaded.
Format: https://www.cs.toronto.edu/~kriz/cifar.html
"""

import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from reprovision.core.errors import UserError
from reprovision.core.params import Section
from reprovision.sources.archives import Archive, Folder, Mirrors, obtain
from reprovision.sources.arrays import part_of_arrays
from reprovision.sources.source import Part, Shape, Source

SHAPE = Shape(3, 32, 32)
Members = Annotated[list[str], Field(min_length=1)]


class CifarDescriptor(Section):
    """A tar archive of CIFAR's binary batches.

    Attributes:
        train, test: the archive's members, in order.
    """

    format: Literal["cifar"]
    folder: Folder | None = None
    mirrors: Mirrors
    archive: Archive
    classes: Annotated[list[str], Field(min_length=2)]
    train: Members
    test: Members

    def open(self, name: str, downloads: Path) -> Source:
        """Opens the source, downloading it if it is missing."""
        folder = downloads / (self.folder or "")
        obtain([self.archive], folder, self.mirrors)
        path = folder / self.archive.file
        members = dict(_read_members(path, {*self.train, *self.test}))
        train = self._part(path, members, self.train, "train")
        test = self._part(path, members, self.test, "test")
        return Source(name, tuple(self.classes), SHAPE, train, test=test)

    def _part(self, path: Path, members: dict[str, bytes], names: list[str], prefix: str) -> Part:
        missing = [name for name in names if name not in members]
        if missing:
            raise UserError(f"{path} holds no {missing[0]}: check train and test in the descriptor")
        row = 1 + 3 * 32 * 32
        content = b"".join(members[name] for name in names)
        if len(content) % row or not content:
            raise UserError(f"{path} does not hold whole rows of {row} bytes: download it again")
        rows = np.frombuffer(content, np.uint8).reshape(-1, row)
        labels = rows[:, 0].astype(np.int64)
        if labels.max() >= len(self.classes):
            raise UserError(f"{path} holds the label {labels.max()}, beyond the classes named")
        return part_of_arrays(rows[:, 1:].reshape(-1, 3, 32, 32), labels, prefix)


def _read_members(path: Path, names: set[str]) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isfile() and member.name in names:
                    file = archive.extractfile(member)
                    assert file is not None, "a regular file has content"
                    yield member.name, file.read()
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise UserError(
            f"{path} can't be read ({error}): delete it to download it again"
        ) from error
