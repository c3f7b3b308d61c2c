"""The IDX format of MNIST and its relatives, read from the gzip files as they are downloaded.

Format: http://yann.lecun.com/exdb/mnist/ (a magic number with type and rank, the dimensions as
big-endian 32-bit integers, then the bytes).
"""

import gzip
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Annotated, Literal, cast

import numpy as np
from pydantic import Field

from reprovision.core.errors import UserError
from reprovision.core.memory import chunks
from reprovision.core.wording import count
from reprovision.core.yaml_files import Section
from reprovision.images.preprocessing import Preprocessing
from reprovision.sources.archives import (
    Archive,
    DamagedError,
    Folder,
    Mirrors,
    ensure_downloaded,
    translate_errors,
)
from reprovision.sources.digests import digests_of
from reprovision.sources.source import Part, Pixels, Report, Source, fit_arrays

MAX_COUNT, MAX_SIDE = 100_000_000, 4096
"""More images or pixels are refused: no dataset has them, but a few bytes can claim them."""


class IdxPart(Section):
    """The two files of train or test: archives of their own, or members of the descriptor's zip."""

    images: Archive | str
    labels: Archive | str


class IdxDescriptor(Section):
    """An IDX dataset.

    Attributes:
        folder: below the downloads.
        mirrors: addresses that end in a slash, tried in turn.
        zip: the archive that holds all files, if they are not archives of their own.
        transposed: the images are stored column by column (EMNIST).
    """

    format: Literal["idx"]
    folder: Folder
    mirrors: Mirrors
    classes: Annotated[list[str], Field(min_length=2)]
    train: IdxPart
    test: IdxPart
    zip: Archive | None = None
    transposed: bool = False

    def open(self, name: str, downloads: Path) -> Source:
        """Opens the source; downloads what is missing."""
        folder = downloads / self.folder
        files = [self.zip, self.train.images, self.train.labels, self.test.images, self.test.labels]
        archives = [file for file in files if isinstance(file, Archive)]
        ensure_downloaded(archives, folder, self.mirrors)
        train, size = self._part(self.train, "train", folder)
        test, test_size = self._part(self.test, "test", folder)
        if size != test_size:
            raise UserError(
                f"{name}: the images of train have the size {size}, but those of test {test_size}: "
                "check the files"
            )
        return Source(name, tuple(self.classes), 1, lambda: size, train, test=test)

    def _part(self, part: IdxPart, prefix: str, folder: Path) -> tuple[Part, tuple[int, int]]:
        images, labels_file = self._file(part.images, 3, folder), self._file(part.labels, 1, folder)
        labels = np.concatenate(list(labels_file.read()), dtype=np.int64)
        number, *size = images.dimensions()
        if number != len(labels):
            raise UserError(
                f"{images.name} has {count(number, 'image')}, but there are {len(labels)} labels"
            )
        if labels.max() >= len(self.classes):
            raise UserError(f"{labels_file.name} has labels that are not below {len(self.classes)}")

        def read(how: Preprocessing, rows: np.ndarray, report: Report) -> Pixels:
            start = 0
            for chunk in images.read(how.bytes):
                wanted = rows[(rows >= start) & (rows < start + len(chunk))]
                # most often all of them are
                chosen = chunk if len(wanted) == len(chunk) else chunk[wanted - start]
                upright = chosen.swapaxes(1, 2) if self.transposed else chosen
                yield wanted, fit_arrays(upright[:, None], how)
                start += len(chunk)

        def digests() -> np.ndarray:
            return digests_of(image.data for chunk in images.read() for image in chunk)

        height, width = reversed(size) if self.transposed else size
        return Part(labels, f"{prefix}/{{}}".format, read, digests), (height, width)

    def _file(self, file: Archive | str, rank: int, folder: Path) -> "_IdxFile":
        if isinstance(file, Archive):
            return _IdxFile(folder / file.file, None, rank)
        if self.zip is None:
            raise UserError(
                f"{file} has no MD5 and there is no zip: give it as a file with its md5"
            )
        return _IdxFile(folder / self.zip.file, file, rank)


@dataclass(frozen=True)
class _IdxFile:
    """A gzip file of one array of bytes.

    Attributes:
        path: of the gzip file, or of a zip that holds it.
        member: its name in the zip.
        rank: how many dimensions the array must have.
    """

    path: Path
    member: str | None
    rank: int

    @property
    def name(self) -> str:
        return f"{self.path}:{self.member}" if self.member else str(self.path)

    def dimensions(self) -> tuple[int, ...]:
        with translate_errors(self.name), self._open() as file:
            return self._read_header(file)

    def read(self, row_bytes: int = 1) -> Iterator[np.ndarray]:
        """Yields the array in chunks (n, ...), for rows that will have `row_bytes` each."""
        with translate_errors(self.name), self._open() as file:
            count, *size = self._read_header(file)
            own_bytes = prod(size)
            for rows in chunks(count, max(row_bytes, own_bytes)):
                expected = (rows.stop - rows.start) * own_bytes
                content = file.read(expected)
                if len(content) < expected:
                    raise DamagedError("it ends early")
                yield np.frombuffer(content, np.uint8).reshape(-1, *size)
            # reading to the end also verifies gzip's checksum
            if file.read(1):
                raise DamagedError("it is longer than its header says")

    def _open(self) -> IO[bytes]:
        if self.member is None:
            return cast(IO[bytes], gzip.open(self.path))
        with zipfile.ZipFile(self.path) as archive:
            if self.member not in archive.namelist():
                raise DamagedError("there is no such file in it")
            # the open member keeps the zip open
            return cast(IO[bytes], gzip.open(archive.open(self.member)))

    def _read_header(self, file: IO[bytes]) -> tuple[int, ...]:
        header = file.read(4 + 4 * self.rank)
        if len(header) < 4 + 4 * self.rank or header[:4] != bytes([0, 0, 8, self.rank]):
            raise DamagedError(f"it is not an IDX file of {self.rank} dimensions of bytes")
        dimensions = tuple(int(d) for d in np.frombuffer(header, ">u4", self.rank, 4))
        count, *size = dimensions
        if count > MAX_COUNT or max(size, default=1) > MAX_SIDE or min(dimensions) < 1:
            raise DamagedError(f"its dimensions {dimensions} are not plausible")
        return dimensions
