"""Digits as strokes, for drawing them as a hand does."""

from collections.abc import Iterator

import numpy as np
from HersheyFonts import HersheyFonts

FONTS = ("futural", "scripts", "timesr", "timesi", "cursive")
"""Drawn by A. V. Hershey for pen plotters; no network has seen them."""

Stroke = list[tuple[float, float]]
"""Points (x, y) in 0..1, from left and from the top."""


def digits(per_font: int) -> Iterator[tuple[str, str, list[Stroke]]]:
    """Each digit with its font and strokes: turned, slanted and stretched as people's are."""
    random = np.random.default_rng(0)
    for font in FONTS:
        pen = HersheyFonts()
        pen.load_default_font(font)
        for digit in "0123456789" * per_font:
            strokes = [np.array(stroke, float) for stroke in pen.strokes_for_text(digit)]
            yield digit, font, _place(strokes, random)


def _place(strokes: list[np.ndarray], random: np.random.Generator) -> list[Stroke]:
    turn, slant = random.uniform(-0.15, 0.15), random.uniform(-0.2, 0.2)
    wide, size = random.uniform(0.85, 1.15), random.uniform(0.45, 0.8)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    moved = [stroke @ (rotation @ [[wide, slant], [0, 1]]).T for stroke in strokes]
    points = np.concatenate(moved)
    low, high = points.min(0), points.max(0)
    center = 0.5 + random.uniform(-0.08, 0.08, 2)
    scale = size / (high - low).max()
    fitted = [(stroke - (low + high) / 2) * scale + center for stroke in moved]
    return [[(float(x), float(y)) for x, y in stroke] for stroke in fitted]
