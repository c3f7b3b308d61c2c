"""Grids of thumbnails with captions, drawn with Pillow: the same images give the same bytes."""

import io
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from reprovision.core.files import write_bytes
from reprovision.core.wording import count
from reprovision.images.fonts import font_file_for
from reprovision.images.preprocessing import to_pillow

TILE, CAPTION, GAP, TITLE = 96, 20, 10, 48
"""Side of a thumbnail, and heights of a caption's line, a gap and the title, in pixels."""

COLUMNS = 8
SAMPLES = 40


def draw_samples(
    images: np.ndarray, labels: np.ndarray, classes: Sequence[str], name: str, path: str | Path
) -> None:
    """Draws random training images, uint8 (N, C, H, W), with the classes of their labels (N,).

    Args:
        name: of the dataset.
    """
    random = np.random.default_rng(0)
    rows = random.choice(len(labels), min(SAMPLES, len(labels)), replace=False)
    title = f"{name}: {len(rows)} of {count(len(labels), 'training image')}"
    draw_image_grid(images[rows], [classes[label] for label in labels[rows]], title, path)


def draw_image_grid(
    images: np.ndarray, captions: Sequence[str], title: str, path: str | Path
) -> None:
    """Draws uint8 images (N, C, H, W) in a grid, each above its caption, below a title."""
    lines = max((caption.count("\n") + 1 for caption in captions), default=1)
    width, height = TILE + GAP, TILE + GAP + lines * CAPTION
    rows = -(-len(images) // COLUMNS)
    # no wider than what it holds
    wide = max(min(len(images), COLUMNS) * width, _length(title, 15) + GAP)
    grid = Image.new("RGB", (wide + GAP, rows * height + TITLE), "white")
    draw = ImageDraw.Draw(grid)
    _write(draw, (GAP, 12), title, 15, "la")
    for index, (image, caption) in enumerate(zip(images, captions, strict=True)):
        x, y = GAP + index % COLUMNS * width, TITLE + index // COLUMNS * height
        grid.paste(thumbnail(image), (x, y))
        draw.rectangle((x - 1, y - 1, x + TILE, y + TILE), outline="#c0c0c0")
        for number, line in enumerate(caption.split("\n")):
            at = (x + TILE / 2, y + TILE + 4 + number * CAPTION)
            _write(draw, at, _shorten(line), 12, "ma")
    content = io.BytesIO()
    grid.save(content, "PNG")
    write_bytes(path, content.getvalue())


def thumbnail(image: np.ndarray) -> Image.Image:
    """A uint8 image (C, H, W) as a square RGB image; small ones keep their pixels visible."""
    picture = to_pillow(image)
    resampling = Image.Resampling.NEAREST if max(picture.size) < TILE else Image.Resampling.BOX
    return picture.convert("RGB").resize((TILE, TILE), resampling)


@cache
def _font(size: int, file: Path) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(file, size)


def _write(
    draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, size: int, anchor: str
) -> None:
    draw.text(at, text, "black", _font(size, font_file_for(text)), anchor)


def _length(text: str, size: int) -> int:
    """Width of a text in pixels."""
    return math.ceil(_font(size, font_file_for(text)).getlength(text))


def _shorten(line: str) -> str:
    """Truncates a caption to the width of a thumbnail."""
    if _length(line, 12) <= TILE:
        return line
    while line and _length(line + "…", 12) > TILE:
        line = line[:-1]
    return line + "…"
