"""What every source of images offers, whatever its format."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from reprovision.core.errors import UserError
from reprovision.core.memory import chunks
from reprovision.core.wording import did_you_mean
from reprovision.images.preprocessing import Preprocessing, fit_array
from reprovision.sources.digests import digests_of

UNUSED = -1
"""The label of images whose class is not used."""

Pixels = Iterator[tuple[np.ndarray, np.ndarray]]
"""Rows (n,) and their pixels, uint8 (n, C, H, W), in increasing order."""

Report = Callable[[int, str], None]
"""Takes the row of an image that can't be read, and the reason."""


@dataclass(frozen=True)
class Part:
    """The train, val or test images of a source.

    Attributes:
        labels: (N,) int64, indices into the source's classes; -1 for images that are not used.
        origin: for a row, where its image comes from: a file, or a position in an archive.
        read: yields the images of some rows, (n,) int64 and increasing, preprocessed. Those that
            can't be read are reported and left out.
        digests: (N,) uint64, of the content of each image as it is stored.
        columns: (N,) texts on each image by name, where a table has them.
        files: (N,) paths, where each image is a file.
    """

    labels: np.ndarray
    origin: Callable[[int], str]
    read: Callable[[Preprocessing, np.ndarray, Report], Pixels]
    digests: Callable[[], np.ndarray]
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    files: Sequence[Path] | None = None


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
        remarks: sentences on what is there and not used.
    """

    name: str
    classes: tuple[str, ...]
    channels: int
    size: Callable[[], tuple[int, int]]
    train: Part
    val: Part | None = None
    test: Part | None = None
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in (self.name, *self.classes):
            if not name or not name.isprintable() or self.classes.count(name) > 1:
                raise UserError(
                    f"{self.name!r} uses the name {name!r}, which is empty, not printable or "
                    "a duplicate: rename the class or source"
                )

    @property
    def parts(self) -> list[Part]:
        """Those that exist, in the order train, val, test."""
        return [part for part in (self.train, self.val, self.test) if part]

    @property
    def notes(self) -> tuple[str, ...]:
        """The remarks, and what people who have no test images should know."""
        if self.test or not self.val:
            return self.remarks
        return (
            *self.remarks,
            "there are val images, but no test images: some of the training images are set apart "
            "for testing; to test on those of val, call it test",
        )


def choose_classes(source: Source, names: Sequence[str] | None) -> Source:
    """The source with some of its classes, in the order given; images of others are not used.

    None keeps all of them.

    Raises:
        UserError: there is no class of a name, or a name is given twice.
    """
    if names is None:
        return source
    unknown = [name for name in names if name not in source.classes]
    if unknown or len(set(names)) < len(names):
        raise UserError(
            f"data.classes must be different ones of {', '.join(source.classes)}"
            + (f", not {unknown[0]}{did_you_mean(unknown[0], source.classes)}" if unknown else "")
        )
    # one more, for those that are unused already
    label_of = np.full(len(source.classes) + 1, UNUSED)
    for label, name in enumerate(names):
        label_of[source.classes.index(name)] = label

    def chosen(part: Part | None) -> Part | None:
        return part and replace(part, labels=label_of[part.labels])

    train = replace(source.train, labels=label_of[source.train.labels])
    return replace(
        source,
        classes=tuple(names),
        train=train,
        val=chosen(source.val),
        test=chosen(source.test),
    )


def part_from_arrays(images: np.ndarray, labels: np.ndarray, prefix: str) -> Part:
    """A part whose images, uint8 (N, C, H, W), are in memory already."""

    def read(how: Preprocessing, rows: np.ndarray, report: Report) -> Pixels:
        for part in chunks(len(rows), how.bytes):
            yield rows[part], fit_arrays(images[rows[part]], how)

    def digests() -> np.ndarray:
        return digests_of(np.ascontiguousarray(image).data for image in images)

    return Part(labels, f"{prefix}/{{}}".format, read, digests)


def fit_arrays(images: np.ndarray, how: Preprocessing) -> np.ndarray:
    """Fits uint8 images (N, C, H, W) to a size; those that have it are not copied."""
    if images.shape[1:] == how.shape:
        return images
    if not len(images):
        return np.empty((0, *how.shape), np.uint8)
    return np.stack([fit_array(image, how) for image in images])
