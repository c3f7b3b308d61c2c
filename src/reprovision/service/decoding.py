"""From an upload to pixels, and from pixels to a picture of them."""

import base64
import io
from dataclasses import replace

import numpy as np

from reprovision.images.drawing import center_drawing
from reprovision.images.preprocessing import (
    MAX_SIDE,
    Preprocessing,
    TooLargeError,
    image_size,
    preprocess,
    to_pillow,
)
from reprovision.service.decoding_cost import check_decoder, check_parts


def read_image(content: bytes, how: Preprocessing, max_pixels: int) -> np.ndarray:
    """The pixels that the model takes, uint8 (C, H, W), of an image file.

    Raises:
        ImageError: it can't be read, or has more pixels than are allowed.
    """
    _check_size(content, max_pixels)
    return preprocess(content, how)


def read_drawing(content: bytes, how: Preprocessing, max_pixels: int, box: float) -> np.ndarray:
    """The same of light strokes on a black or transparent ground, scaled and centered in a box."""
    height, width = _check_size(content, min(max_pixels, MAX_SIDE**2))
    if max(height, width) > MAX_SIDE:
        raise TooLargeError(f"a drawing has at most {MAX_SIDE} pixels at each side")
    as_drawn = replace(how, height=height, width=width, channels=1, background="black")
    return center_drawing(preprocess(content, as_drawn)[0], how.height, how.width, box)[None]


def as_png(pixels: np.ndarray) -> str:
    """Pixels, uint8 (C, H, W), as the address of a PNG that holds them itself."""
    file = io.BytesIO()
    to_pillow(pixels).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _check_size(content: bytes, max_pixels: int) -> tuple[int, int]:
    """Height and width from the header, before anything is decoded."""
    check_parts(content)
    height, width = image_size(content)
    check_decoder(content)
    if height * width > max_pixels:
        raise TooLargeError(
            f"its {width}x{height} pixels are more than the {max_pixels:,} allowed: scale it down"
        )
    return height, width
