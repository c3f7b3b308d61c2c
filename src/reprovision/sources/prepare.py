"""From a source to the prepared tensors: fitted, split, counted, streamed to disk.

In: a Source. Out, below one folder, for each of train, val and test:

    images.npy    uint8 (N, C, H, W)
    labels.npy    int64 (N,)
    origins.txt   where each image comes from, one line per image

and dataset.json (see `data/dataset.py`). Images are streamed in chunks, so that memory stays
bounded whatever their number, with plain writes, so that a full disk is an error and not a crash.
"""

import io
from array import array
from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np

from reprovision.core.errors import UserError
from reprovision.core.files import digest_of_file, with_filename, write_bytes
from reprovision.core.memory import chunks
from reprovision.core.params import DataParams
from reprovision.data.dataset import (
    SPLITS,
    DatasetInfo,
    SplitInfo,
    digest_of_split,
    open_array,
    write_info,
)
from reprovision.images.fonts import missing_characters
from reprovision.images.preprocessing import Preprocessing
from reprovision.sources.source import Part, Source
from reprovision.sources.splits import stratified_choice

TEST_SEED = 0
"""The test images do not depend on params, so that results stay comparable."""

TRAIN, VAL, TEST, LEFT_OUT = 0, 1, 2, -1

FEW = 20
"""Validation images, of which a single one is 5 points of accuracy or more."""

DARK = 16
"""Values of images of 12 bits, read as 16, are below."""


def prepare(source: Source, params: DataParams, folder: Path) -> DatasetInfo:
    """Writes the prepared tensors of a source into a folder.

    Raises:
        UserError: an image can't be read, or there are too few images for the splits.
    """
    how = _preprocessing(source, params)
    assigned = _assign(source, params)
    writers = []
    for index, split in enumerate(SPLITS):
        count = sum(int(np.count_nonzero(splits == index)) for _, splits in assigned)
        writers.append(_SplitWriter(folder / split, count, how.shape))
    for part, splits in assigned:
        _stream(part, splits, how, writers)
    infos = [writer.finish(len(source.classes), writers[TRAIN]) for writer in writers]
    mean, std = _normalization(params, open_array(folder / "train" / "images.npy"))
    info = DatasetInfo(
        name=source.name,
        classes=source.classes,
        preprocessing=how,
        mean=mean,
        std=std,
        splits=dict(zip(SPLITS, infos, strict=True)),
    )
    write_info(folder, info)
    return info


def find_doubts(info: DatasetInfo, train: np.ndarray) -> list[str]:
    """Sentences on prepared data that may not be what the user believes.

    Args:
        train: uint8 (N, C, H, W), the training images.
    """
    doubts = [
        f"{split.in_train:,} {name} images are training images, too"
        for name, split in info.splits.items()
        if split.in_train
    ]
    count = sum(info.splits["val"].counts)
    if 0 < count < FEW:
        doubts.append(f"{count} val images are too few to choose an epoch or params by")
    # one bright image in the first chunk is enough to know
    if all(train[rows].max() < DARK for rows in chunks(len(train), prod(train.shape[1:]))):
        doubts.append(
            f"no pixel is brighter than {train.max()} of 255: where grayscale images of 16 bits "
            "hold 12, as many cameras write them, set data.bits=12"
        )
    if missing := missing_characters([info.name, *info.classes]):
        doubts.append(
            f"pictures can't show {''.join(sorted(missing)[:10])} of the class names: "
            "`uv sync --extra cjk` installs a font with Chinese, Japanese and Korean"
        )
    return doubts


def _preprocessing(source: Source, params: DataParams) -> Preprocessing:
    size = params.image_size
    height, width = (
        source.size() if size is None else (size, size) if isinstance(size, int) else size
    )
    return Preprocessing(
        height=height,
        width=width,
        channels=params.channels or source.channels,
        resize=params.resize,
        interpolation=params.interpolation,
        background=params.background,
        bits=params.bits,
    )


def _assign(source: Source, params: DataParams) -> list[tuple[Part, np.ndarray]]:
    """Each part of the source, with the index of the split that each of its images goes to."""
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
    """Leaves out a stratified share of a split, so that `limit` of its images remain."""
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


def _stream(
    part: Part, splits: np.ndarray, how: Preprocessing, writers: list["_SplitWriter"]
) -> None:
    start = 0
    for chunk in part.read(how):
        rows = np.arange(start, start + len(chunk))
        for index, writer in enumerate(writers):
            chosen = splits[rows] == index
            origins = map(part.origin, rows[chosen].tolist())
            writer.append(chunk[chosen], part.labels[rows[chosen]], origins)
        start += len(chunk)
    assert start == len(splits), "a part yields all its images"


def _normalization(
    params: DataParams, train: np.ndarray
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std per channel, for pixels in 0..1; a channel without contrast has std 1."""
    channels = train.shape[1]
    if params.normalize != "dataset":
        mean, std = (0.5, 0.5) if params.normalize == "half" else (0.0, 1.0)
        return (mean,) * channels, (std,) * channels
    sums, squares = np.zeros((2, channels), np.uint64)
    # integer sums are exact, whatever the chunks
    for rows in chunks(len(train), prod(train.shape[1:])):
        sums += train[rows].sum((0, 2, 3), dtype=np.uint64)
        squares += np.square(train[rows], dtype=np.uint16).sum((0, 2, 3), dtype=np.uint64)
    pixels = train[:, 0].size
    means = sums / pixels
    variance = np.maximum(squares / pixels - means**2, 0)
    stds = np.where(variance > 0, np.sqrt(variance), 255)
    return tuple((means / 255).tolist()), tuple((stds / 255).tolist())


def _open_new(path: Path) -> BinaryIO:
    """Opens a new file for writing: a link into DVC's cache would lead into its content."""
    path.unlink(missing_ok=True)
    return path.open("xb")


class _SplitWriter:
    """Writes one split as its images arrive."""

    def __init__(self, folder: Path, count: int, shape: tuple[int, int, int]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.labels: list[np.ndarray] = [np.empty(0, np.int64)]
        # 64 bits of each image's pixels: two different images in a million collide once in 10^7
        self.hashes = array("q")
        self.images = _open_new(folder / "images.npy")
        self.origins = _open_new(folder / "origins.txt")
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, *shape)}
        np.lib.format.write_array_header_1_0(self.images, header)

    def append(self, images: np.ndarray, labels: np.ndarray, origins: Iterable[str]) -> None:
        with with_filename(self.folder):
            self.images.write(np.ascontiguousarray(images))
            self.origins.write("".join(f"{origin}\n" for origin in origins).encode())
        self.labels.append(labels)
        self.hashes.extend(hash(image.tobytes()) for image in images)

    def finish(self, classes: int, train: "_SplitWriter") -> SplitInfo:
        with with_filename(self.folder):
            self.images.close()
            self.origins.close()
        labels, content = np.concatenate(self.labels), io.BytesIO()
        np.save(content, labels)
        write_bytes(self.folder / "labels.npy", content.getvalue())
        return SplitInfo(
            counts=np.bincount(labels, minlength=classes).tolist(),
            digest=digest_of_split(open_array(self.folder / "images.npy"), labels),
            origins=digest_of_file(self.folder / "origins.txt"),
            in_train=0 if self is train else self._count_in(set(train.hashes)),
        )

    def _count_in(self, hashes: set[int]) -> int:
        return sum(found in hashes for found in self.hashes)
