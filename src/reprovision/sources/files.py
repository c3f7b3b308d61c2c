"""Image files as parts of a source: read in chunks by several threads, whatever their number."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from reprovision.core.errors import UserError
from reprovision.core.memory import chunks
from reprovision.images.preprocessing import ImageError, Preprocessing, image_size, preprocess
from reprovision.sources.source import Part

LARGEST_COMMON = 1024
"""Side of images, in pixels, up to which their common size is taken without being asked for."""


def part_of_files(files: Sequence[Path], labels: np.ndarray, root: Path) -> Part:
    """A part whose images are files below a root, with labels (N,) int64."""
    return Part(
        labels,
        origin=lambda row: _one_line(files[row].relative_to(root)),
        read=lambda how: _read(files, how),
    )


def common_size(files: Sequence[Path], name: str) -> tuple[int, int]:
    """Height and width of all images, from their headers.

    Raises:
        UserError: they differ, are very large, or can't be read.
    """
    found: dict[tuple[int, int], Path] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for size, file in zip(pool.map(_size, files), files, strict=True):
            found.setdefault(size, file)
    (height, width), first = min(found.items())
    if len(found) > 1:
        (most_high, most_wide), last = max(found.items())
        raise UserError(
            f"the images in {name} have {len(found):,} different sizes, from {width}x{height} "
            f"({first}) to {most_wide}x{most_high} ({last}): set data.image_size to the wanted "
            "height and width in pixels, e.g. 64"
        )
    if max(height, width) > LARGEST_COMMON:
        raise UserError(
            f"the images in {name} are {width}x{height} pixels, more than networks usually take: "
            f"set data.image_size, e.g. 224, to at most {LARGEST_COMMON}"
        )
    return height, width


def _size(file: Path) -> tuple[int, int]:
    try:
        return image_size(file)
    except ImageError as error:
        raise UserError(f"{file} can't be read ({error}): repair or remove it") from error


def _read(files: Sequence[Path], how: Preprocessing) -> Iterator[np.ndarray]:
    """Yields all images in chunks (n, C, H, W); raises a UserError that lists unreadable ones."""
    bad: list[str] = []

    def read(file: Path) -> np.ndarray:
        try:
            return preprocess(file, how)
        except ImageError as error:
            bad.append(f"{file} ({error})")
            return np.zeros(how.shape, np.uint8)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for rows in chunks(len(files), how.bytes):
            yield np.stack(list(pool.map(read, files[rows])))
    if bad:
        raise UserError(
            f"{len(bad)} of {len(files)} images can't be read: {first_ten(sorted(bad))}: "
            "repair or remove them"
        )


def _one_line(path: Path) -> str:
    """A file's name on one line of valid UTF-8, neither of which file systems guarantee."""
    text = path.as_posix().encode("utf-8", "backslashreplace").decode()
    return text if text.isprintable() else repr(text)[1:-1]


def first_ten(names: Sequence[str]) -> str:
    """A list for a sentence; of many names, the first ten and the number of others."""
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(names[:10]) + more
