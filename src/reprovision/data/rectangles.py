"""Random rectangles in images: what a crop keeps, what erasing and CutMix replace."""

import math

import torch
from torch import Tensor

ATTEMPTS = 10
"""Rectangles drawn per image until one fits, as in torchvision."""


def draw_rectangles(
    count: int,
    size: tuple[int, int],
    area: tuple[float, float],
    ratio: tuple[float, float],
    generator: torch.Generator,
) -> Tensor:
    """One rectangle per image, as torchvision's RandomResizedCrop and RandomErasing draw them.

    Args:
        count: of images.
        size: height and width of the images, in pixels.
        area: bounds of the share of the image's area, uniform.
        ratio: bounds of width / height, uniform in its logarithm.

    Returns:
        float32 (count, 4), whole pixels: top, left, height, width. All are 0 where no draw fits.
    """
    height, width = size
    draws = torch.rand(2, ATTEMPTS, count, generator=generator)
    places = torch.rand(2, count, generator=generator)
    areas = height * width * (area[0] + draws[0] * (area[1] - area[0]))
    low, high = math.log(ratio[0]), math.log(ratio[1])
    ratios = (low + draws[1] * (high - low)).exp()
    heights, widths = (areas / ratios).sqrt().round(), (areas * ratios).sqrt().round()
    fits = (heights > 0) & (heights <= height) & (widths > 0) & (widths <= width)
    # the first of the largest: argmax promises it
    first = fits.int().argmax(0, keepdim=True)
    h, w = heights.gather(0, first)[0], widths.gather(0, first)[0]
    top, left = (places[0] * (height - h + 1)).floor(), (places[1] * (width - w + 1)).floor()
    return torch.stack([top, left, h, w], 1) * fits.any(0)[:, None]


def mask(rectangles: Tensor, size: tuple[int, int]) -> Tensor:
    """bool (N, 1, H, W), true inside of each image's rectangle (N, 4); see `draw_rectangles`."""
    top, left, height, width = rectangles[:, :, None].unbind(1)
    rows = torch.arange(size[0], device=rectangles.device)
    columns = torch.arange(size[1], device=rectangles.device)
    inside_rows = (rows >= top) & (rows < top + height)
    inside_columns = (columns >= left) & (columns < left + width)
    return (inside_rows[:, :, None] & inside_columns[:, None, :])[:, None]
