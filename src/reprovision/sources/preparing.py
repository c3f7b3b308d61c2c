"""From a source to the prepared tensors: fitted, split, counted, streamed to disk.

In: a Source. Out, below one folder, for each of train, val and test:

    images.npy    uint8 (N, C, H, W)
    labels.npy    int64 (N,)
    origins.txt   where each image came from, a line an image

and dataset.json (see `dataset.py`). Images pass through in chunks, so that memory stays bounded
whatever their number, and by plain writes, so that a full disk is an error and not a crash.
"""

import hashlib
import io
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np

from reprovision.core.errors import UserError
from reprovision.core.files import naming, write_bytes
from reprovision.core.params import DataParams
from reprovision.data.dataset import SPLITS, DatasetInfo, SplitInfo, write_info
from reprovision.sources.source import Part, Shape, Source
from reprovision.sources.splits import stratified_choice

TEST_SEED = 0
"""Whatever the params, the test images are chosen alike, so that results stay comparable."""

TRAIN, VAL, TEST, LEFT_OUT = 0, 1, 2, -1


def prepare(source: Source, params: DataParams, folder: Path) -> DatasetInfo:
    """Writes the prepared tensors of a source into a folder.

    Raises:
        UserError: an image can't be read, or too few images are there for the splits asked for.
    """
    shape = _target_shape(source, params)
    assigned = _assign(source, params)
    writers = []
    for index, split in enumerate(SPLITS):
        count = sum(int(np.count_nonzero(splits == index)) for _, splits in assigned)
        writers.append(_SplitWriter(folder / split, count, shape, len(source.classes)))
    for part, splits in assigned:
        _stream(part, splits, shape, writers)
    mean, std = _normalization(params, writers[TRAIN])
    info = DatasetInfo(
        name=source.name,
        classes=source.classes,
        shape=(shape.channels, shape.height, shape.width),
        mean=mean,
        std=std,
        splits={name: writer.finish() for name, writer in zip(SPLITS, writers, strict=True)},
    )
    write_info(folder, info)
    return info


def _target_shape(source: Source, params: DataParams) -> Shape:
    if source.shape is None and params.image_size is None:
        raise UserError(
            f"the images in {source.name} have no common size: "
            "set data.image_size to the wanted height and width in pixels, e.g. 64"
        )
    own = source.shape or Shape(3, 0, 0)
    return Shape(
        params.channels or own.channels,
        params.image_size or own.height,
        params.image_size or own.width,
    )


def _assign(source: Source, params: DataParams) -> list[tuple[Part, np.ndarray]]:
    """Each part of the source with the index of the split that each of its images goes to."""
    train = np.full(len(source.train.labels), TRAIN)
    if source.test is None:
        _move(source.train, train, TEST, params.test_fraction, TEST_SEED)
        _limit(source.train, train, TEST, params.limit, TEST_SEED)
    _limit(source.train, train, TRAIN, params.limit, params.split_seed)
    if source.val is None and params.val_fraction > 0:
        _move(source.train, train, VAL, params.val_fraction, params.split_seed)
    assigned = [(source.train, train)]
    for part, split in ((source.val, VAL), (source.test, TEST)):
        if part is not None:
            splits = np.full(len(part.labels), split)
            _limit(part, splits, split, params.limit, TEST_SEED)
            assigned.append((part, splits))
    return assigned


def _limit(part: Part, splits: np.ndarray, split: int, limit: int | None, seed: int) -> None:
    """Leaves out a stratified share of a split, so that `limit` of its images are left."""
    pool = np.flatnonzero(splits == split)
    if limit is not None and limit < len(pool):
        kept = stratified_choice(part.labels[pool], limit, seed)
        splits[pool[~kept]] = LEFT_OUT


def _move(part: Part, splits: np.ndarray, target: int, fraction: float, seed: int) -> None:
    """Moves a stratified share of a part's training images to another split."""
    pool = np.flatnonzero(splits == TRAIN)
    count = round(len(pool) * fraction)
    if not 0 < count < len(pool):
        raise UserError(
            f"{len(pool)} images are too few to set {fraction:.0%} apart for {SPLITS[target]}: "
            "add images, or change data.limit, data.val_fraction or data.test_fraction"
        )
    splits[pool[stratified_choice(part.labels[pool], count, seed)]] = target


def _stream(part: Part, splits: np.ndarray, shape: Shape, writers: list["_SplitWriter"]) -> None:
    start = 0
    # closed at once when a disk is full: the reader must not outlive this
    with closing(_ahead(part.read(shape))) as chunks:
        for chunk in chunks:
            rows = np.arange(start, start + len(chunk))
            for index, writer in enumerate(writers):
                chosen = splits[rows] == index
                origins = map(part.origin, rows[chosen].tolist())
                writer.append(chunk[chosen], part.labels[rows[chosen]], origins)
            start += len(chunk)
    assert start == len(splits), "a part reads all its images"


def _ahead(chunks: Iterator[np.ndarray]) -> Generator[np.ndarray]:
    """Yields the same chunks; the next one is read while the present one is written."""
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, chunks, None)
        while (chunk := coming.result()) is not None:
            coming = reader.submit(next, chunks, None)
            yield chunk


def _normalization(
    params: DataParams, train: "_SplitWriter"
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    channels = len(train.sums)
    if params.normalize == "none":
        return (0.0,) * channels, (1.0,) * channels
    if params.normalize == "half":
        return (0.5,) * channels, (0.5,) * channels
    return train.mean_and_std()


class _HashedFile:
    """A file that is written as its content comes, and the SHA-256 of that content."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path.open("wb")
        self.digest = hashlib.sha256()

    def write(self, content: bytes | np.ndarray) -> None:
        with naming(self.path):
            self.file.write(content)
        self.digest.update(content)

    def close(self) -> None:
        with naming(self.path):
            self.file.close()


class _SplitWriter:
    """Writes one split as its images arrive, and keeps count."""

    def __init__(self, folder: Path, count: int, shape: Shape, classes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.labels: list[np.ndarray] = [np.empty(0, np.int64)]
        self.classes = classes
        self.sums = np.zeros(shape.channels, np.uint64)
        self.squares = np.zeros(shape.channels, np.uint64)
        self.pixels = count * shape.height * shape.width
        self.images = _HashedFile(folder / "images.npy")
        self.origins = _HashedFile(folder / "origins.txt")
        header = {
            "descr": "|u1",
            "fortran_order": False,
            "shape": (count, shape.channels, shape.height, shape.width),
        }
        np.lib.format.write_array_header_1_0(self.images.file, header)

    def append(self, images: np.ndarray, labels: np.ndarray, origins: Iterable[str]) -> None:
        content = np.ascontiguousarray(images)
        self.images.write(content)
        self.origins.write("\n".join([*origins, ""]).encode())
        # integers add up exactly, in whatever chunks they come
        self.sums += content.sum((0, 2, 3), dtype=np.uint64)
        self.squares += np.square(content, dtype=np.uint16).sum((0, 2, 3), dtype=np.uint64)
        self.labels.append(labels)

    def mean_and_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """For each channel, of pixels in 0..1; a channel without contrast has std 1."""
        mean = self.sums / self.pixels
        variance = np.maximum(self.squares / self.pixels - mean**2, 0)
        std = np.where(variance > 0, np.sqrt(variance), 255)
        return tuple((mean / 255).tolist()), tuple((std / 255).tolist())

    def finish(self) -> SplitInfo:
        self.images.close()
        self.origins.close()
        labels = np.concatenate(self.labels)
        self.images.digest.update(labels)
        content = io.BytesIO()
        np.save(content, labels)
        write_bytes(self.folder / "labels.npy", content.getvalue())
        counts = np.bincount(labels, minlength=self.classes).tolist()
        return SplitInfo(
            counts=counts,
            digest=self.images.digest.hexdigest(),
            origins=self.origins.digest.hexdigest(),
        )
