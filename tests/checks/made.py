"""Made-up photos, and sources of them."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from reprovision.images.fonts import font_files


def photo(number: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """A picture of soft colors with some grain; different numbers look different."""
    random = np.random.default_rng(number)
    soft = random.integers(0, 256, (8, 10, 3), np.uint8)
    picture = np.asarray(Image.fromarray(soft).resize(size, Image.Resampling.BICUBIC))
    grain = random.normal(0, 6, picture.shape)
    return Image.fromarray((picture + grain).clip(0, 255).astype(np.uint8))


def placeholder() -> Image.Image:
    """What websites show in place of a picture that is gone."""
    picture = Image.new("RGB", (240, 180), "#e0e0e0")
    font = ImageFont.truetype(font_files()[0], 32)
    ImageDraw.Draw(picture).text((120, 90), "image not found", "#606060", font, "mm")
    return picture


def make_photos(folder: Path, each: int = 12) -> Path:
    """A folder of photos, train and test of the classes ant and bee, with nothing wrong."""
    number = 0
    for split in ("train", "test"):
        for name in ("ant", "bee"):
            (folder / split / name).mkdir(parents=True)
            for index in range(each):
                photo(number).save(folder / split / name / f"{index}.jpg", quality=95)
                number += 1
    return folder
