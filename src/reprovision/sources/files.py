"""Image files as parts of a source: read in chunks, whatever their number."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from reprovision.core.errors import UserError
from reprovision.core.memory import chunks
from reprovision.core.wording import first_ten
from reprovision.images.parallel import map_images
from reprovision.images.preprocessing import ImageError, Preprocessing, image_size, preprocess
from reprovision.sources.digests import digest_of_content
from reprovision.sources.source import Part, Pixels, Report

LARGEST_COMMON = 1024
"""Side of images, in pixels, up to which their common size is taken without being asked for."""


def part_of_files(
    files: Sequence[Path],
    labels: np.ndarray,
    root: Path,
    columns: Mapping[str, Sequence[str]] | None = None,
) -> Part:
    """A part whose images are files below a root; see `Part` for the other arguments."""
    return Part(
        labels,
        origin=lambda row: one_line(files[row].relative_to(root)),
        read=lambda how, rows, report: _read(files, how, rows, report),
        digests=lambda: _digests(files),
        columns=columns or {},
        files=files,
    )


def common_size(files: Sequence[Path], name: str) -> tuple[int, int]:
    """Height and width of all images that can be read, from their headers.

    Raises:
        UserError: they differ, or are very large, or none can be read.
    """
    found: dict[tuple[int, int], Path] = {}
    for size, file in zip(map_images(_size, files), files, strict=True):
        if size:
            found.setdefault(size, file)
    if not found:
        raise UserError(f"none of the images in {name} can be read: is it the right folder?")
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


def _size(file: Path) -> tuple[int, int] | None:
    """None for what can't be read, which is named later, with all others."""
    try:
        return image_size(file)
    except ImageError:
        return None


def _read(files: Sequence[Path], how: Preprocessing, rows: np.ndarray, report: Report) -> Pixels:
    """Yields the images of some rows, in chunks; those that can't be read are reported."""

    def read(row: int) -> np.ndarray | None:
        try:
            return preprocess(files[row], how)
        except ImageError as error:
            report(row, str(error))
            return None

    for part in chunks(len(rows), how.bytes):
        chunk, pixels = rows[part], np.empty((part.stop - part.start, *how.shape), np.uint8)
        readable = np.ones(len(chunk), bool)
        for index, image in enumerate(map_images(read, chunk.tolist())):
            readable[index] = image is not None
            if image is not None:
                pixels[index] = image
        yield (chunk, pixels) if readable.all() else (chunk[readable], pixels[readable])


def _digests(files: Sequence[Path]) -> np.ndarray:
    """(N,) uint64, of the files' content; of one that can't be read, of nothing."""

    def digest(file: Path) -> int:
        try:
            with open(file, "rb") as opened:  # noqa: PTH123, half the time of pathlib
                return digest_of_content(opened.read())
        except OSError:
            return digest_of_content(b"")

    return np.fromiter(map(digest, files), np.uint64, len(files))


def one_line(path: Path) -> str:
    """A file's name on one line of valid UTF-8, neither of which file systems guarantee."""
    text = path.as_posix().encode("utf-8", "backslashreplace").decode()
    return text if text.isprintable() else repr(text)[1:-1]


def report_unreadable(bad: Sequence[tuple[str, str]], total: int, what: str, action: str) -> None:
    """Reports images that can't be read, as `data.on_bad_image` says.

    Args:
        bad: each image with the reason.
        total: of the images that were to be read.
        what: they are, e.g. `images in pets`.
        action: `fail` raises a UserError that names them, `skip` warns.
    """
    if not bad:
        return
    named = first_ten([f"{origin} ({reason})" for origin, reason in sorted(bad)])
    found = f"{len(bad):,} of {total:,} {what} can't be read"
    if action == "fail":
        raise UserError(
            f"{found}: repair or remove them, or set data.on_bad_image=skip to leave them out: "
            f"{named}"
        )
    print(f"warning: {found} and are left out: {named}", file=sys.stderr)
