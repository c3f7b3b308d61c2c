"""Sheets of thumbnails with captions, drawn with Pillow: the same images give the same bytes."""

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from reprovision.core.files import write_png
from reprovision.data.dataset import DatasetInfo, load_split

TILE = 96
"""Side of a thumbnail in pixels."""

CAPTION = 20
"""Height of a caption's line in pixels."""

GAP = 10
COLUMNS = 8
SAMPLES = 40


def draw_samples(prepared: str | Path, info: DatasetInfo, path: str | Path) -> None:
    """Draws random training images with their labels."""
    train = load_split(prepared, "train")
    random = np.random.default_rng(0)
    rows = random.choice(len(train), min(SAMPLES, len(train)), replace=False)
    captions = [info.classes[label] for label in train.labels[rows]]
    title = f"{info.name}: {len(rows)} of {len(train):,} training images"
    draw_sheet(train.images[rows], captions, title, path)


def draw_sheet(images: np.ndarray, captions: Sequence[str], title: str, path: str | Path) -> None:
    """Draws uint8 images (N, C, H, W) in a grid, each above its caption, below a title."""
    lines = max((caption.count("\n") + 1 for caption in captions), default=1)
    width, height = TILE + GAP, TILE + GAP + lines * CAPTION
    rows = -(-len(images) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * width + GAP, rows * height + 48), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, 12), title, "black", _font(15))
    font = _font(12)
    for index, (image, caption) in enumerate(zip(images, captions, strict=True)):
        x = GAP + index % COLUMNS * width
        y = 48 + index // COLUMNS * height
        sheet.paste(thumbnail(image), (x, y))
        draw.rectangle((x - 1, y - 1, x + TILE, y + TILE), outline="#c0c0c0")
        for number, line in enumerate(caption.split("\n")):
            text = _shorten(line, font)
            draw.text((x + TILE / 2, y + TILE + 4 + number * CAPTION), text, "black", font, "ma")
    write_png(path, sheet)


def thumbnail(image: np.ndarray) -> Image.Image:
    """A uint8 image (C, H, W) as a square picture; small ones keep their pixels visible."""
    picture = Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))
    filter_ = Image.Resampling.NEAREST if max(picture.size) < TILE else Image.Resampling.BOX
    return picture.convert("RGB").resize((TILE, TILE), filter_)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib ships and draws with; it is found without importing that."""
    spec = find_spec("matplotlib")
    assert spec and spec.origin, "matplotlib is a dependency"
    return ImageFont.truetype(
        Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf", size
    )


def _shorten(line: str, font: ImageFont.FreeTypeFont) -> str:
    if font.getlength(line) <= TILE:
        return line
    while line and font.getlength(line + "…") > TILE:
        line = line[:-1]
    return line + "…"
