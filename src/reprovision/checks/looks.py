"""How images look, in few numbers each, by which copies and blank images are found.

The numbers are those of the perceptual hash pHash: the lowest frequencies of the discrete cosine
transform of the gray image. Computed here for many images at once, because imagehash's takes
0.54 ms per image of 64x64, this 0.04 ms with all else that is kept (two cores of an AMD EPYC with
other load, n = 2,000); and because sums of integers give the same hash on every machine.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from reprovision.core.memory import chunks
from reprovision.sources.digests import digests_of

SMALLEST = 32
"""Side in pixels; among smaller images, nearly the same pixels are common (see `copies.py`)."""

ENOUGH = 64
"""Pixels of the shorter side, at least, that are looked at in larger images."""

FREQUENCIES = 12
"""In each direction; the hash takes the lowest 8."""

SCALE = 1024
"""Cosines are rounded to integers of this size, so that all sums are exact in float64."""

FLAT = 2.0
"""Root mean square of an image's contrast, in steps of 255, below which it resembles no other."""

LEVELS = 32


@dataclass(frozen=True)
class Looks:
    """What is kept of N images; the last three have no rows where images are small.

    Attributes:
        digests: uint64 (N,), of the content.
        hashes: uint64 (N,); similar images differ in few bits.
        shapes: float16 (N, 144), of length 1: the scalar product of two is their correlation. 0 for
            images without contrast.
        one_color: float32 (N,), share of the pixels that are within a sixteenth of one gray level.
    """

    digests: np.ndarray
    hashes: np.ndarray
    shapes: np.ndarray
    one_color: np.ndarray

    @property
    def compared(self) -> bool:
        """Whether near duplicates can be found."""
        return len(self.hashes) > 0


def look_at(batches: Iterable[np.ndarray]) -> Looks:
    """Looks of images that stream by, uint8 (n, C, H, W), with digests of their pixels."""
    exact: list[np.ndarray] = [np.empty(0, np.uint64)]
    hashes: list[np.ndarray] = [np.empty(0, np.uint64)]
    shapes: list[np.ndarray] = [np.empty((0, FREQUENCIES**2), np.float16)]
    one_color: list[np.ndarray] = [np.empty(0, np.float32)]
    for batch in batches:
        exact.append(digests_of(np.ascontiguousarray(image).data for image in batch))
        if min(batch.shape[2:]) < SMALLEST:
            continue
        # arrays of float64 are made of each part
        for rows in chunks(len(batch), 16 * batch[0].size if len(batch) else 1):
            gray, white = _gray(batch[rows])
            spectra = _spectra(gray)
            hashes.append(_hashes(spectra))
            shapes.append(_shapes(spectra, gray[0].size * white / 255))
            one_color.append(_one_color(gray, white))
    return Looks(
        np.concatenate(exact),
        np.concatenate(hashes),
        np.concatenate(shapes),
        np.concatenate(one_color),
    )


def _gray(images: np.ndarray) -> tuple[np.ndarray, int]:
    """The sum of the channels, (n, H, W), and its largest possible value; of large images, less."""
    step = max(1, min(images.shape[2:]) // ENOUGH)
    images = images[:, :, ::step, ::step]
    if images.shape[1] == 1:
        return images[:, 0], 255
    return images.sum(1, dtype=np.uint16), 255 * images.shape[1]


def _spectra(gray: np.ndarray) -> np.ndarray:
    """Frequencies float64 (n, 12, 12) of images (n, H, W): whole numbers, exact in any order."""
    _, height, width = gray.shape
    spectra: np.ndarray = _cosines(height) @ gray.astype(np.float64) @ _cosines(width).T
    return spectra


def _cosines(side: int) -> np.ndarray:
    """The first rows of the discrete cosine transform, (12, side)."""
    at = (np.arange(side) + 0.5) / side
    return np.round(SCALE * np.cos(np.pi * np.arange(FREQUENCIES)[:, None] * at))


def _hashes(spectra: np.ndarray) -> np.ndarray:
    """Which of the lowest 8x8 frequencies are above their median, as 64 bits."""
    low = spectra[:, :8, :8].reshape(len(spectra), 64)
    # the mean brightness is none of them
    above = low > np.partition(low[:, 1:], 31, axis=1)[:, 31:32]
    above[:, 0] = False
    return np.packbits(above, axis=1).view(np.uint64)[:, 0]


def _shapes(spectra: np.ndarray, unit: float) -> np.ndarray:
    """Frequencies without the mean, scaled to length 1; `unit` is H*W times a gray level."""
    flat = spectra.reshape(len(spectra), -1).copy()
    flat[:, 0] = 0
    lengths = np.linalg.norm(flat, axis=1, keepdims=True)
    contrast = 2 * lengths / (unit * SCALE**2)
    return np.where(contrast >= FLAT, flat / np.maximum(lengths, 1), 0).astype(np.float16)


def _one_color(gray: np.ndarray, white: int) -> np.ndarray:
    """Share of each image's pixels in the two neighboring gray levels, of 32, that have most."""
    count = len(gray)
    # a division of 16 bits takes a quarter of the time
    levels = (gray // gray.dtype.type(white // LEVELS + 1)).reshape(count, -1).astype(np.int64)
    levels += LEVELS * np.arange(count)[:, None]
    counts = np.bincount(levels.ravel(), minlength=count * LEVELS).reshape(count, LEVELS)
    return ((counts[:, 1:] + counts[:, :-1]).max(1) / gray[0].size).astype(np.float32)
