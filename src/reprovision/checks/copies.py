"""Pairs of images that show the same: identical ones, and those saved again in another way.

Near duplicates are looked for among images whose perceptual hashes differ in few of 64 bits, which
are found by sorting (Manku, Jain and Sarma, 2007, doi:10.1145/1242572.1242592), and compared by the
correlation of their low frequencies. How similar two of them must be depends on how similar images
of this kind are anyway: two photos of anything correlate less than two scans of handwritten digits.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from reprovision.checks.looks import Looks

BITS = 4
"""In which the hashes of near duplicates differ at most; medians make the number even. All of 396
photos did after saving as JPEG of quality 20 or at a quarter of the size, and 96 % after cutting
1 % off each side."""

BLOCKS = (11, 11, 11, 11, 10, 10)
"""Bits of each part of a hash: of six parts, four different bits leave two as they are."""

NEIGHBORS = 50
"""Images with equal parts that each is compared with, at most."""

MOST = 100_000
"""Candidates, beyond which the search ends: they are frames of videos, or alike by nature."""

STRICT = 125
"""Near duplicates are this many times closer than nine in ten pairs of images are: of the photos,
all that were saved as above are found, and 76 % of those cut; of 50 million pairs of MNIST's test
images with borders to 32x32, none (with 100, three pairs of ones)."""

SAMPLE = 10_000
"""Random pairs by which that is measured."""


@dataclass(frozen=True)
class Pairs:
    """Pairs of images that show the same.

    Attributes:
        images, others: int64 (M,), rows; the other comes first.
        similarity: float64 (M,), the correlation; exactly 1 for identical images.
        complete: whether all images were compared.
    """

    images: np.ndarray
    others: np.ndarray
    similarity: np.ndarray
    complete: bool


def find_pairs(looks: Looks) -> Pairs:
    """All pairs, of groups of identical images only those with its first one."""
    _, first, group = np.unique(looks.digests, return_index=True, return_inverse=True)
    copies = np.flatnonzero(first[group] != np.arange(len(group)))
    images, others = copies, first[group][copies]
    similarity, complete = np.ones(len(copies)), True
    if looks.compared and len(first) > 1:
        rows = np.sort(first)
        near, close, complete = _near(looks.hashes[rows], looks.shapes[rows])
        images = np.concatenate([images, rows[near[:, 1]]])
        others = np.concatenate([others, rows[near[:, 0]]])
        similarity = np.concatenate([similarity, close])
    order = np.lexsort((others, images))
    return Pairs(images[order], others[order], similarity[order], complete)


def _near(hashes: np.ndarray, shapes: np.ndarray) -> tuple[np.ndarray, np.ndarray, bool]:
    """Near duplicates: pairs of rows (M, 2), their correlation (M,), and whether those are all."""
    codes, complete = np.empty(0, np.int64), True
    for pairs in _candidates(hashes):
        codes = np.union1d(codes, pairs)
        if len(codes) > MOST:
            codes, complete = codes[:MOST], False
            break
    found = np.stack(np.divmod(codes, len(hashes)), axis=1)
    close = _correlation(shapes, found)
    kept = close >= 1 - _closest(shapes)
    # identical files only are exactly 1
    return found[kept], np.minimum(close[kept], 0.9999), complete


def _candidates(hashes: np.ndarray) -> Iterator[np.ndarray]:
    """Yields pairs of rows whose hashes differ in few bits, row * N + later row, int64 (n,)."""
    ends = np.cumsum(BLOCKS).tolist()
    masks = [(1 << end) - (1 << end - bits) for bits, end in zip(BLOCKS, ends, strict=True)]
    for one, two in combinations(masks, 2):
        parts = hashes & np.uint64(one | two)
        # equal ones stay in the order of the rows
        order = np.argsort(parts, kind="stable")
        keys = parts[order]
        for step in range(1, NEIGHBORS + 1):
            same = np.flatnonzero(keys[step:] == keys[:-step])
            if not len(same):
                break
            first, second = order[same], order[same + step]
            near = np.bitwise_count(hashes[first] ^ hashes[second]) <= BITS
            yield first[near] * len(hashes) + second[near]


def _closest(shapes: np.ndarray) -> float:
    """The largest distance (1 - correlation) of near duplicates among images of this kind."""
    pairs = np.random.default_rng(0).integers(len(shapes), size=(SAMPLE, 2))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    return float(np.quantile(1 - _correlation(shapes, pairs), 0.1)) / STRICT


def _correlation(shapes: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """(M,) float64, for pairs of rows (M, 2)."""
    one, two = (shapes[pairs[:, side]].astype(np.float64) for side in (0, 1))
    return np.einsum("ij,ij->i", one, two)
