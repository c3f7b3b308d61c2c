"""The checks: each takes the images and gives findings, or none."""

from collections.abc import Iterable, Sequence
from math import prod

import numpy as np

from reprovision.checks.copies import Pairs, find_pairs
from reprovision.checks.findings import Example, Finding
from reprovision.checks.images import Images
from reprovision.core.memory import chunks
from reprovision.core.wording import count
from reprovision.data.dataset import SPLITS, DatasetInfo
from reprovision.images.fonts import missing_characters
from reprovision.images.preprocessing import MAX_PIXELS

TINY = 16
"""Side in pixels; in fewer, little can be seen."""

ONE_COLOR, NEARLY_ALL = 0.88, 0.999
"""Share of pixels of one color: pictures of the words "image not found" have 0.89 and more; of 396
photos, the one with most has 0.87. Where half of the images have much of it by nature, as drawings
do, only those that are all of one color are named."""

COMMON = 0.5

RATIO = 10
"""Of the largest class to the smallest, from which on rare classes may be ignored."""

FEW_OF_CLASS = 10
"""Training images of a class, below which little can be learned."""

FEW = 20
"""Validation images, of which a single one is 5 points of accuracy or more."""

DARK = 16
"""Values of images of 12 bits, read as 16, are below."""


def check_images(images: Images) -> list[Finding]:
    """All that is found without looking at a label's meaning, the serious first."""
    found = [
        *_unreadable(images),
        *_copies(images, find_pairs(images.looks)),
        *_one_color(images),
        *_sizes(images),
        *_balance(images),
    ]
    return sorted(found, key=lambda finding: not finding.serious)


def check_prepared(info: DatasetInfo, train: np.ndarray) -> list[Finding]:
    """What may not be as the user believes once images are prepared.

    Args:
        train: uint8 (N, C, H, W), the training images.
    """
    found = []
    few = sum(info.splits["val"].counts)
    if 0 < few < FEW:
        are = _count(few, "val image is", "val images are")
        sentence = f"{are} too few to choose an epoch or params by"
        found.append(Finding("few_val", sentence))
    # one bright image in the first chunk is enough to know
    if all(train[rows].max() < DARK for rows in chunks(len(train), prod(train.shape[1:]))):
        sentence = (
            f"no pixel is brighter than {train.max()} of 255: where grayscale images of 16 bits "
            "hold 12, as many cameras write them, set data.bits=12"
        )
        found.append(Finding("dark", sentence))
    if missing := missing_characters([info.name, *info.classes]):
        sentence = (
            f"pictures can't show {''.join(sorted(missing)[:10])} of the class names: "
            "`uv sync --extra cjk` installs a font with Chinese, Japanese and Korean"
        )
        found.append(Finding("font", sentence))
    return found


def _unreadable(images: Images) -> Iterable[Finding]:
    if images.unreadable:
        examples = [Example(origin, detail=reason) for origin, reason in images.unreadable]
        total = len(images.labels) + len(examples)
        sentence = f"{len(examples):,} of {total:,} images can't be read"
        yield Finding("unreadable", sentence, examples, serious=True)


def _copies(images: Images, pairs: Pairs) -> Iterable[Finding]:
    """Pairs in two splits, with two labels, or else in one class of one split."""
    splits = images.splits[pairs.images], images.splits[pairs.others]
    labels = images.labels[pairs.images], images.labels[pairs.others]
    conflict = labels[0] != labels[1]
    for later, split in reversed(list(enumerate(SPLITS))):
        for earlier, other in enumerate(SPLITS[:later]):
            both = (splits[0] == later) & (splits[1] == earlier)
            kind = "training" if other == "train" else other
            what = f"{split} image is a {kind} image, too", f"{split} images are {kind} images, too"
            yield from _pairs("leakage", what, images, pairs, both, serious=True)
    what = "image has two different labels", "images have two different labels"
    yield from _pairs("conflict", what, images, pairs, conflict, serious=True)
    rest = (splits[0] == splits[1]) & ~conflict
    what = "image is a copy of another in its class", "images are copies of others in their class"
    yield from _pairs("copy", what, images, pairs, rest, serious=False)
    if not pairs.complete:
        yield Finding("incomplete", "too many images are alike: not all near duplicates are listed")


def _pairs(
    name: str,
    what: tuple[str, str],
    images: Images,
    pairs: Pairs,
    chosen: np.ndarray,
    serious: bool,
) -> Iterable[Finding]:
    """A finding on some pairs, each image once: with the one that is most like it.

    Args:
        what: is said of one image, and of several.
    """
    rows = np.flatnonzero(chosen)
    rows = rows[np.lexsort((pairs.others[rows], -pairs.similarity[rows], pairs.images[rows]))]
    rows = rows[np.unique(pairs.images[rows], return_index=True)[1]]
    if not len(rows):
        return
    same = pairs.similarity[rows] == 1
    # identical ones are the first examples
    rows = np.concatenate([rows[same], rows[~same]])
    near = int((~same).sum())
    how = "" if not near else " (nearly)" if near == len(rows) else f" ({near:,} of them nearly)"
    examples = [_example(images, pairs, row) for row in rows.tolist()]
    yield Finding(name, f"{_count(len(rows), *what)}{how}", examples, serious)


def _count(number: int, one: str, several: str) -> str:
    return f"{number:,} {one if number == 1 else several}"


def _example(images: Images, pairs: Pairs, row: int) -> Example:
    image, other = int(pairs.images[row]), int(pairs.others[row])
    close = pairs.similarity[row]
    details = ["identical" if close == 1 else f"similarity {min(close, 0.999):.3f}"]
    if images.labels[image] != images.labels[other]:
        labels = (images.classes[images.labels[row]] for row in (image, other))
        details.append(" and ".join(labels))
    return Example(images.origins[image], images.origins[other], ", ".join(details))


def _one_color(images: Images) -> Iterable[Finding]:
    shares = images.looks.one_color
    if not len(shares):
        return
    limit = ONE_COLOR if np.median(shares) < COMMON else NEARLY_ALL
    rows = np.flatnonzero(shares >= limit)
    rows = rows[np.argsort(-shares[rows], kind="stable")]
    if len(rows):
        examples = [
            Example(images.origins[row], detail=f"{shares[row]:.1%} of one color")
            for row in rows.tolist()
        ]
        what = "image is nearly of one color", "images are nearly of one color"
        sentence = f"{_count(len(rows), *what)}: blank, or a placeholder?"
        yield Finding("one_color", sentence, examples)


def _sizes(images: Images) -> Iterable[Finding]:
    """Files that are small or large, where not all are."""
    if images.sizes is None:
        return
    heights, widths = images.sizes.heights, images.sizes.widths
    smaller, pixels = np.minimum(heights, widths), heights * widths

    def examples(rows: np.ndarray) -> Sequence[Example]:
        return [
            Example(images.origins[r], detail=f"{widths[r]}x{heights[r]}") for r in rows.tolist()
        ]

    tiny, huge = np.flatnonzero(smaller < TINY), np.flatnonzero(pixels > MAX_PIXELS)
    if 0 < len(tiny) < len(smaller):
        has = _count(len(tiny), "image has", "images have")
        sentence = f"{has} a side of fewer than {TINY} pixels"
        yield Finding("tiny", sentence, examples(tiny))
    if len(huge):
        has = _count(len(huge), "image has", "images have")
        sentence = f"{has} more than {MAX_PIXELS // 10**6} million pixels"
        yield Finding("huge", sentence, examples(huge))


def _balance(images: Images) -> Iterable[Finding]:
    counts = images.counts()[0]
    order = np.argsort(counts, kind="stable")
    few = [i for i in order.tolist() if counts[i] < FEW_OF_CLASS]
    if few:
        has = _count(len(few), "class has", "classes have")
        sentence = f"{has} fewer than {FEW_OF_CLASS} training images"
        examples = [Example(detail=f"{images.classes[i]}: {counts[i]:,}") for i in few]
        yield Finding("few", sentence, examples)
    smallest, largest = order[0], order[-1]
    if counts[largest] >= RATIO * counts[smallest]:
        sentence = (
            f"{images.classes[largest]} has {count(int(counts[largest]), 'training image')}, but "
            f"{images.classes[smallest]} {counts[smallest]:,}: compare macro_f1, and try "
            "train.balance"
        )
        yield Finding("imbalance", sentence)
