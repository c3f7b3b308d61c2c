"""The IDX format of MNIST and its relatives, read from the gzip files as they are downloaded.

Format: http://yann.lecun.com/exdb/mnist/ (a magic number with type and rank, the dimensions as
big-endian 32-bit integers, then the bytes).
"""

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Annotated, Literal

import numpy as np
from isal import igzip, isal_zlib
from pydantic import Field

from reprovision.core.errors import UserError
from reprovision.core.params import Section
from reprovision.sources.archives import Archive, Folder, Mirrors, obtain
from reprovision.sources.imaging import fit_chunk
from reprovision.sources.source import CHUNK, CHUNK_BYTES, Part, Shape, Source

MAX_COUNT, MAX_SIDE = 100_000_000, 4096
"""More images or pixels are refused: far beyond any data set, but a few bytes can claim them."""

DAMAGE: tuple[type[Exception], ...] = (
    EOFError,
    igzip.BadGzipFile,
    isal_zlib.error,  # type: ignore[assignment]  # its stub takes the class for an instance
    zipfile.BadZipFile,
)
"""What a damaged archive raises."""

Open = Callable[[], IO[bytes]]
ClassNames = Annotated[list[str], Field(min_length=2)]


class IdxPart(Section):
    """One part's two files: archives of their own, or members of the descriptor's zip."""

    images: Archive | str
    labels: Archive | str


class IdxDescriptor(Section):
    """An IDX data set.

    Attributes:
        folder: below the downloads.
        mirrors: addresses that end in a slash, tried in turn.
        zip: the archive that holds all files, where it is one.
        transposed: the images are stored column by column (EMNIST).
    """

    format: Literal["idx"]
    folder: Folder
    mirrors: Mirrors
    classes: ClassNames
    train: IdxPart
    test: IdxPart
    zip: Archive | None = None
    transposed: bool = False

    def open(self, name: str, downloads: Path) -> Source:
        """Opens the source, downloading what is missing."""
        folder = downloads / self.folder
        files = [self.zip, self.train.images, self.train.labels, self.test.images, self.test.labels]
        obtain([file for file in files if isinstance(file, Archive)], folder, self.mirrors)
        train, shape = self._part(self.train, "train", folder)
        test, test_shape = self._part(self.test, "test", folder)
        if shape != test_shape:
            raise UserError(
                f"{name}: train has {shape}, but test has {test_shape}: check the files"
            )
        return Source(name, tuple(self.classes), shape, train, test=test)

    def _part(self, part: IdxPart, prefix: str, folder: Path) -> tuple[Part, Shape]:
        images, images_name = self._opener(part.images, folder)
        labels_file, labels_name = self._opener(part.labels, folder)
        labels = np.concatenate(list(_elements(labels_file, labels_name, 1)), dtype=np.int64)
        count, height, width = _dimensions(images, images_name, 3)
        if count != len(labels):
            raise UserError(
                f"{images_name} has {count} images, but {len(labels)} labels belong to it"
            )
        if len(labels) == 0 or labels.max() >= len(self.classes):
            raise UserError(f"{labels_name} does not hold labels below {len(self.classes)}")

        def read(shape: Shape) -> Iterator[np.ndarray]:
            for chunk in _elements(images, images_name, 3, shape.chunk):
                upright = chunk.swapaxes(1, 2) if self.transposed else chunk
                yield fit_chunk(upright[:, None], shape)

        size = (width, height) if self.transposed else (height, width)
        return Part(labels, f"{prefix}/{{}}".format, read), Shape(1, *size)

    def _opener(self, file: Archive | str, folder: Path) -> tuple[Open, str]:
        if isinstance(file, Archive):
            path = folder / file.file
            return partial(_open_gzip, path), str(path)
        if self.zip is None:
            raise UserError(f"{file} is a member of no zip: give it as a file with its md5")
        path = folder / self.zip.file
        return partial(_open_member, path, file), f"{path}:{file}"


def _open_gzip(path: Path) -> IO[bytes]:
    # unpacks in a third of the time of Python's own gzip
    return igzip.open(path)


def _open_member(path: Path, member: str) -> IO[bytes]:
    with zipfile.ZipFile(path) as archive:
        if member not in archive.namelist():
            raise EOFError("there is no such file in it")
        # the member keeps the archive's file open as long as it needs it
        return igzip.open(archive.open(member))


def _dimensions(open_file: Open, name: str, rank: int) -> tuple[int, ...]:
    with _reading(name), open_file() as file:
        return _header(file, name, rank)


def _elements(open_file: Open, name: str, rank: int, at_once: int = CHUNK) -> Iterator[np.ndarray]:
    """Yields an IDX file of uint8 elements in chunks, e.g. (n, H, W) for rank 3."""
    with _reading(name), open_file() as file:
        count, *size = _header(file, name, rank)
        each = int(np.prod(size))
        chunk = max(1, min(at_once, CHUNK_BYTES // each))
        for start in range(0, count, chunk):
            n = min(chunk, count - start)
            content = file.read(n * each)
            if len(content) < n * each:
                raise EOFError("it ends early")
            yield np.frombuffer(content, np.uint8).reshape(n, *size)
        # reading to the end also checks gzip's own checksum
        if file.read(1):
            raise EOFError("it is longer than its header says")


def _header(file: IO[bytes], name: str, rank: int) -> tuple[int, ...]:
    header = file.read(4 + 4 * rank)
    if len(header) < 4 + 4 * rank or header[:4] != bytes([0, 0, 8, rank]):
        raise EOFError(f"it is not an IDX file of {rank} dimensions of bytes")
    dimensions = tuple(int(d) for d in np.frombuffer(header, ">u4", rank, 4))
    count, *size = dimensions
    if count > MAX_COUNT or max(size, default=1) > MAX_SIDE or min(dimensions) < 1:
        raise EOFError(f"its dimensions {dimensions} can't be right")
    return dimensions


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Turns what a damaged archive raises into one sentence."""
    try:
        yield
    except DAMAGE as error:
        raise UserError(
            f"{name} can't be read ({error}): delete it to download it again"
        ) from error
