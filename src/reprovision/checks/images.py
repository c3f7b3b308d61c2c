"""The images that are checked: of a source as it is, or as the prepare stage has written them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import NoReturn

import numpy as np
from PIL import Image
from tqdm import tqdm

from reprovision.checks.looks import Looks, look_at
from reprovision.core.memory import chunks
from reprovision.data.dataset import SPLITS, DatasetInfo, load_origins, open_array
from reprovision.images.parallel import map_images
from reprovision.images.preprocessing import FORMATS, ImageError, Preprocessing, image_size
from reprovision.sources.source import Source

SIDE = 64
"""In pixels; files are read at this size."""

KINDS = ("color", "gray", "transparent")


@dataclass(frozen=True)
class Sizes:
    """What the headers of N files say.

    Attributes:
        heights, widths: int64 (N,), in pixels.
        kinds: int64 (N,), indices into `KINDS`.
    """

    heights: np.ndarray
    widths: np.ndarray
    kinds: np.ndarray


@dataclass(frozen=True)
class Images:
    """N images of a dataset, those of train first, then val, then test.

    Attributes:
        name: of the dataset.
        labels, splits: int64 (N,), indices into the classes and into `SPLITS`.
        origins: (N,), where each comes from.
        unreadable: further images, with the reason.
        sizes: None where images are not files.
    """

    name: str
    classes: tuple[str, ...]
    labels: np.ndarray
    splits: np.ndarray
    origins: Sequence[str]
    looks: Looks
    unreadable: Sequence[tuple[str, str]] = ()
    sizes: Sizes | None = None

    def counts(self) -> np.ndarray:
        """Images per split and class, int64 (3, classes)."""
        counts = np.zeros((len(SPLITS), len(self.classes)), np.int64)
        np.add.at(counts, (self.splits, self.labels), 1)
        return counts


def read_prepared(
    folder: Path, info: DatasetInfo, unreadable: Sequence[tuple[str, str]] = ()
) -> Images:
    """The images in a folder that the prepare stage has written.

    Args:
        unreadable: those that it left out.
    """

    def batches() -> Iterator[np.ndarray]:
        for split in SPLITS:
            images = open_array(folder / split / "images.npy")
            for rows in chunks(len(images), prod(images.shape[1:])):
                yield images[rows]

    labels = [open_array(folder / split / "labels.npy") for split in SPLITS]
    return Images(
        name=info.name,
        classes=info.classes,
        labels=np.concatenate(labels),
        splits=np.repeat(np.arange(len(SPLITS)), [len(part) for part in labels]),
        origins=[origin for split in SPLITS for origin in load_origins(folder, split)],
        looks=look_at(batches()),
        unreadable=unreadable,
    )


def read_source(source: Source, strays: Sequence[tuple[str, str]] = ()) -> Images:
    """All images of a source; those without a split of their own are in train.

    Files are read at a small size, which is enough to compare them.

    Args:
        strays: files that can't be images, with the reason: they are unreadable, too.
    """
    how = _small(source)
    unreadable = list(strays)
    read: list[np.ndarray] = []

    def batches(bar: "tqdm[NoReturn]") -> Iterator[np.ndarray]:
        for part in source.parts:
            origin = part.origin

            def report(row: int, reason: str, origin=origin) -> None:  # type: ignore[no-untyped-def]
                unreadable.append((origin(row), reason))

            found = [np.empty(0, np.int64)]
            for rows, pixels in part.read(how, np.arange(len(part.labels)), report):
                found.append(rows)
                yield pixels
                bar.update(len(rows))
            read.append(np.concatenate(found))

    total = sum(len(part.labels) for part in source.parts)
    with tqdm(total=total, unit=" images", leave=False, disable=None) as bar:
        looks = look_at(batches(bar))
    parts = list(zip(source.parts, read, strict=True))
    # copies are files with the same content
    digests = np.concatenate([part.digests()[rows] for part, rows in parts])
    files = [part.files[row] for part, rows in parts if part.files for row in rows]
    present = [i for i, part in enumerate((source.train, source.val, source.test)) if part]
    return Images(
        name=source.name,
        classes=source.classes,
        labels=np.concatenate([part.labels[rows] for part, rows in parts]),
        splits=np.repeat(present, [len(rows) for rows in read]),
        origins=[part.origin(row) for part, rows in parts for row in rows.tolist()],
        looks=replace(looks, digests=digests),
        unreadable=sorted(unreadable),
        sizes=_read_sizes(files) if files else None,
    )


def _small(source: Source) -> Preprocessing:
    if source.train.files is not None:
        return Preprocessing(SIDE, SIDE, 3, resize="squash")
    return Preprocessing(*source.size(), source.channels)


def _read_sizes(files: Sequence[Path]) -> Sizes:
    return Sizes(*np.array(list(map_images(_header, files)), np.int64).T)


def _header(file: Path) -> tuple[int, int, int]:
    """Height, width and kind of a file that has been read."""
    try:
        height, width = image_size(file)
        # its beginning is one of these: the line above has seen it
        with Image.open(file, formats=(*FORMATS, "HEIF")) as opened:
            gray = opened.mode.startswith(("1", "L", "I", "F"))
            kind = "transparent" if opened.has_transparency_data else "gray" if gray else "color"
    except (ImageError, OSError):
        # it has been replaced in this moment
        return 0, 0, 0
    return height, width, KINDS.index(kind)
