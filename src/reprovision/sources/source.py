"""What every source of images offers, whatever its format."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from reprovision.core.errors import UserError
from reprovision.core.memory import chunks
from reprovision.images.preprocessing import Preprocessing, fit_array


@dataclass(frozen=True)
class Part:
    """The train, val or test images of a source.

    Attributes:
        labels: (N,) int64, indices into the source's classes.
        origin: for a row, where its image comes from: a file, or a position in an archive.
        read: yields all N images in order, preprocessed, as uint8 arrays (n, C, H, W).
    """

    labels: np.ndarray
    origin: Callable[[int], str]
    read: Callable[[Preprocessing], Iterator[np.ndarray]]


@dataclass(frozen=True)
class Source:
    """A labelled set of images.

    Attributes:
        name: of the descriptor or folder.
        classes: class names in the order of the labels.
        channels: of the images themselves, 1 or 3.
        size: their own height and width; raises a UserError where they have no size in common.
        train: always present.
        val, test: None if the source has none of its own; prepare then splits them off train.
    """

    name: str
    classes: tuple[str, ...]
    channels: int
    size: Callable[[], tuple[int, int]]
    train: Part
    val: Part | None = None
    test: Part | None = None

    def __post_init__(self) -> None:
        for name in (self.name, *self.classes):
            if not name or not name.isprintable() or self.classes.count(name) > 1:
                raise UserError(
                    f"{self.name!r} uses the name {name!r}, which is empty, not printable or "
                    "a duplicate: rename the class or source"
                )


def part_from_arrays(images: np.ndarray, labels: np.ndarray, prefix: str) -> Part:
    """A part whose images, uint8 (N, C, H, W), are in memory already."""

    def read(how: Preprocessing) -> Iterator[np.ndarray]:
        for rows in chunks(len(images), how.bytes):
            yield fit_arrays(images[rows], how)

    return Part(labels, f"{prefix}/{{}}".format, read)


def fit_arrays(images: np.ndarray, how: Preprocessing) -> np.ndarray:
    """Fits uint8 images (N, C, H, W) to a size; those that have it are not copied."""
    if images.shape[1:] == how.shape:
        return images
    return np.stack([fit_array(image, how) for image in images])
