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
from collections.abc import Iterable, Sequence
from math import prod
from pathlib import Path
from typing import BinaryIO, NoReturn

import numpy as np
from tqdm import tqdm

from reprovision.core.errors import UserError
from reprovision.core.files import digest_of_file, with_filename, write_bytes
from reprovision.core.memory import chunks
from reprovision.core.params import DataParams
from reprovision.core.wording import first_ten
from reprovision.data.dataset import (
    SPLITS,
    DatasetInfo,
    SplitInfo,
    digest_of_split,
    open_array,
    write_info,
)
from reprovision.images.preprocessing import Preprocessing
from reprovision.sources.files import report_unreadable
from reprovision.sources.source import Part, Source, choose_classes
from reprovision.sources.splits import LEFT_OUT, TRAIN, assign


def prepare(
    source: Source,
    params: DataParams,
    folder: Path,
    unreadable: list[tuple[str, str]] | None = None,
) -> DatasetInfo:
    """Writes the prepared tensors of a source into a folder.

    Args:
        unreadable: gets the images that are left out, with the reason.

    Raises:
        UserError: an image can't be read, or there are too few images for the splits.
    """
    how = _preprocessing(source, params)
    source = choose_classes(source, params.classes)
    writers = [_SplitWriter(folder / split, how.shape) for split in SPLITS]
    bad = [] if unreadable is None else unreadable
    assigned = assign(source, params)
    images = sum(int((splits != LEFT_OUT).sum()) for _, splits in assigned)
    with tqdm(total=images, unit=" images", leave=False, disable=None) as bar:
        for part, splits in assigned:
            _stream(part, splits, how, writers, bad, bar)
    # threads report them in any order
    bad.sort()
    report_unreadable(bad, images, f"images in {source.name}", params.on_bad_image)
    infos = [writer.finish(len(source.classes), writers[TRAIN]) for writer in writers]
    _check_classes(source.classes, infos[TRAIN].counts)
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


def _stream(
    part: Part,
    splits: np.ndarray,
    how: Preprocessing,
    writers: list["_SplitWriter"],
    bad: list[tuple[str, str]],
    bar: "tqdm[NoReturn]",
) -> None:
    def report(row: int, reason: str) -> None:
        bad.append((part.origin(row), reason))

    for rows, pixels in part.read(how, np.flatnonzero(splits != LEFT_OUT), report):
        for index, writer in enumerate(writers):
            chosen = splits[rows] == index
            origins = map(part.origin, rows[chosen].tolist())
            writer.append(pixels[chosen], part.labels[rows[chosen]], origins)
        bar.update(len(rows))


def _check_classes(classes: Sequence[str], counts: Sequence[int]) -> None:
    """Raises a UserError where there is nothing to learn a class from."""
    empty = [name for name, count in zip(classes, counts, strict=True) if not count]
    if empty:
        raise UserError(
            f"there are no training images of {first_ten(empty)}: add some, or leave the class out "
            "with data.classes"
        )


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

    def __init__(self, folder: Path, shape: tuple[int, int, int]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.shape = shape
        self.labels: list[np.ndarray] = [np.empty(0, np.int64)]
        # 64 bits of each image's pixels: two different images in a million collide once in 10^7
        self.hashes = array("q")
        self.images = _open_new(folder / "images.npy")
        self.origins = _open_new(folder / "origins.txt")
        self._write_header(0)

    def append(self, images: np.ndarray, labels: np.ndarray, origins: Iterable[str]) -> None:
        with with_filename(self.folder):
            self.images.write(np.ascontiguousarray(images))
            self.origins.write("".join(f"{origin}\n" for origin in origins).encode())
        self.labels.append(labels)
        self.hashes.extend(hash(image.tobytes()) for image in images)

    def finish(self, classes: int, train: "_SplitWriter") -> SplitInfo:
        labels, content = np.concatenate(self.labels), io.BytesIO()
        with with_filename(self.folder):
            self.images.seek(0)
            self._write_header(len(labels))
            self.images.close()
            self.origins.close()
        np.save(content, labels)
        write_bytes(self.folder / "labels.npy", content.getvalue())
        return SplitInfo(
            counts=np.bincount(labels, minlength=classes).tolist(),
            digest=digest_of_split(open_array(self.folder / "images.npy"), labels),
            origins=digest_of_file(self.folder / "origins.txt"),
            in_train=0 if self is train else self._count_in(set(train.hashes)),
        )

    def _write_header(self, count: int) -> None:
        """Writes the header of a .npy file, which has the same length for any count."""
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, *self.shape)}
        np.lib.format.write_array_header_1_0(self.images, header)

    def _count_in(self, hashes: set[int]) -> int:
        return sum(found in hashes for found in self.hashes)
