"""What every source of images offers, whatever its format."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from reprovision.core.errors import UserError

CHUNK, CHUNK_BYTES = 1024, 2**26
"""Images read at a time, at most: memory stays bounded whatever their number and size."""


@dataclass(frozen=True)
class Shape:
    """An image's size in memory: channels, height and width in pixels."""

    channels: int
    height: int
    width: int

    @property
    def chunk(self) -> int:
        """How many images of this shape are read at a time."""
        return max(1, min(CHUNK, CHUNK_BYTES // (self.channels * self.height * self.width)))


@dataclass(frozen=True)
class Part:
    """The train or the test images of a source.

    Attributes:
        labels: (N,) int64, indices into the source's classes.
        origin: tells of each row what leads back to the original: a file, or a position in an
            archive.
        read: yields all N images of a given shape in order, as uint8 arrays (n, C, H, W).
    """

    labels: np.ndarray
    origin: Callable[[int], str]
    read: Callable[[Shape], Iterator[np.ndarray]]


@dataclass(frozen=True)
class Source:
    """A labelled set of images.

    Attributes:
        name: of the descriptor or folder.
        classes: class names in the order of the labels.
        shape: the images' own shape, or None where they differ from one another.
        train: always there.
        val, test: None where the source doesn't bring its own; they are then split off train.
    """

    name: str
    classes: tuple[str, ...]
    shape: Shape | None
    train: Part
    val: Part | None = None
    test: Part | None = None

    def __post_init__(self) -> None:
        for name in self.classes:
            if not name or not name.isprintable() or self.classes.count(name) > 1:
                raise UserError(
                    f"{self.name} has the class name {name!r}, which is empty, not printable or "
                    "there twice: rename the class"
                )
