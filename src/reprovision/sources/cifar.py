"""CIFAR-10 in its binary version: rows of one label byte and 3,072 pixel bytes.

The Python version of the same data is a pickle, which could run code when loaded.
Format: https://www.cs.toronto.edu/~kriz/cifar.html
"""

import tarfile
from math import prod
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from reprovision.core.yaml_files import Section
from reprovision.sources.archives import (
    Archive,
    DamagedError,
    Folder,
    Mirrors,
    ensure_downloaded,
    translate_errors,
)
from reprovision.sources.source import Part, Source, part_from_arrays

SIZE = (32, 32)
ROW_BYTES = 1 + 3 * prod(SIZE)
MOST_BYTES = 2**28
"""Of a member, eight times those of CIFAR: a sparse file of a few bytes can claim any size."""

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
        """Opens the source; downloads the archive if it is missing."""
        folder = downloads / (self.folder or "")
        ensure_downloaded([self.archive], folder, self.mirrors)
        path = folder / self.archive.file
        with translate_errors(str(path)):
            members = _read_members(path, {*self.train, *self.test})
            train = self._part(members, self.train, "train")
            test = self._part(members, self.test, "test")
        return Source(name, tuple(self.classes), 3, lambda: SIZE, train, test=test)

    def _part(self, members: dict[str, bytes], names: list[str], prefix: str) -> Part:
        missing = [name for name in names if name not in members]
        if missing:
            raise DamagedError(f"it holds no {missing[0]}")
        content = b"".join(members[name] for name in names)
        if len(content) % ROW_BYTES or not content:
            raise DamagedError(f"it does not hold whole rows of {ROW_BYTES} bytes")
        rows = np.frombuffer(content, np.uint8).reshape(-1, ROW_BYTES)
        labels = rows[:, 0].astype(np.int64)
        if labels.max() >= len(self.classes):
            raise DamagedError(f"it holds the label {labels.max()}, but there are fewer classes")
        return part_from_arrays(rows[:, 1:].reshape(-1, 3, *SIZE), labels, prefix)


def _read_members(path: Path, names: set[str]) -> dict[str, bytes]:
    members = {}
    with tarfile.open(path) as archive:
        for member in archive:
            wanted = member.isfile() and member.name in names
            if wanted and member.size > MOST_BYTES:
                raise DamagedError(f"its {member.name} would be {member.size:,} bytes long")
            if wanted and (file := archive.extractfile(member)):
                members[member.name] = file.read()
    return members
