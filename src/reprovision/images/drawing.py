"""From a drawing to pixels like those of MNIST."""

import numpy as np
from PIL import Image, ImageOps

from reprovision.images.preprocessing import ImageError

MNIST_BOX = 20 / 28
"""Side of the square that a digit of MNIST fills, of the image's side."""

SAMPLE = 10_000
"""Images by which the square is measured."""


def drawing_box(images: np.ndarray) -> float:
    """Side of the square that drawings fill, of the image's side: the median over images.

    Args:
        images: uint8 (N, 1, H, W), light strokes on black.
    """
    ink = images[:SAMPLE, 0] > 0
    heights, widths = (ink.any(3 - axis).sum(1) / ink.shape[axis] for axis in (1, 2))
    return float(np.median(np.maximum(heights, widths)))


def center_drawing(drawing: np.ndarray, height: int, width: int, box: float) -> np.ndarray:
    """A drawing as MNIST's makers scaled and centered theirs, uint8 (height, width).

    It is cut out, scaled until it fits a box, and moved until its center of mass is in the middle
    (LeCun et al., 1998, doi:10.1109/5.726791) or it touches the edge. The middle is pixel 14 of 28,
    counted from 0: so it is on average over MNIST's first 20,000 images.

    Args:
        drawing: uint8 (H, W), light strokes on black.
        box: side of the box, of the image's side; `MNIST_BOX` for MNIST.

    Raises:
        ImageError: nothing is drawn, or nothing is left of it at this size.
    """
    image = Image.fromarray(drawing)
    found = image.getbbox()
    if found is None:
        raise ImageError("nothing is drawn")
    size = max(1, round(box * width)), max(1, round(box * height))
    # each pixel is the mean of what it covers, which keeps thin strokes
    cut = ImageOps.contain(image.crop(found), size, Image.Resampling.BOX)
    ink = np.asarray(cut, np.float64)
    if not ink.any():
        raise ImageError("its strokes are too thin for their length: draw with a wider pen")
    y, x = ((ink.sum(1 - axis) @ np.arange(ink.shape[axis])) / ink.sum() for axis in (0, 1))
    left = min(max(0, round(width / 2 - x)), width - cut.width)
    top = min(max(0, round(height / 2 - y)), height - cut.height)
    centered = Image.new("L", (width, height))
    centered.paste(cut, (left, top))
    return np.asarray(centered)
