"""Single images: decodes files and fits pixels to a shape, with Pillow."""

import warnings
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
from PIL import Image, ImageOps

from reprovision.core.errors import UserError

MAX_PIXELS = 64_000_000
"""Of the decoded image; more are refused, because a small file can claim any size. A large JPEG is
decoded at a smaller scale."""

MANY_PIXELS = 4_000_000
"""Images with more are decoded one at a time, so that threads don't multiply their memory."""

_one_large_image = Lock()

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Others are refused, whatever the file's suffix: Pillow runs Ghostscript for EPS."""


@dataclass(frozen=True)
class Shape:
    """The size of a uint8 image: channels, and height and width in pixels."""

    channels: int
    height: int
    width: int

    @property
    def bytes(self) -> int:
        return self.channels * self.height * self.width


def fit_images(images: np.ndarray, shape: Shape) -> np.ndarray:
    """Fits uint8 images (N, C, H, W) to a shape; those that have it are not copied."""
    if images.shape[1:] == (shape.channels, shape.height, shape.width):
        return images
    return np.stack([_fit(to_pillow(image), shape) for image in images])


def read_image(path: Path, shape: Shape) -> np.ndarray:
    """Reads an image file as uint8 (C, H, W): upright by EXIF, scaled, cropped at the centre.

    Raises:
        UserError: the file is damaged, of another format, or decoded to more than MAX_PIXELS.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as image:
                # checks the checksums of a PNG, which decoding ignores; needs opening again
                image.verify()
            with Image.open(path, formats=FORMATS) as image:
                image.draft(None, (2 * shape.width, 2 * shape.height))
                pixels = image.width * image.height
                if pixels > MAX_PIXELS:
                    raise UserError(
                        f"{image.width}x{image.height} pixels are more than the "
                        f"{MAX_PIXELS // 10**6} million that are decoded: scale it down"
                    )
                with _one_large_image if pixels > MANY_PIXELS else nullcontext():
                    return _fit(_to_8_bits(ImageOps.exif_transpose(image), image.format), shape)
    except (UserError, MemoryError):
        raise
    # Pillow's decoders raise nearly any exception on a damaged file
    except Exception as error:
        raise UserError(f"{error}" or type(error).__name__) from error


def to_pillow(image: np.ndarray) -> Image.Image:
    """A uint8 array (C, H, W) of one or three channels as a Pillow image."""
    return Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))


def _to_8_bits(image: Image.Image, file_format: str | None) -> Image.Image:
    """Keeps the upper eight bits of 16-bit pixels; Pillow's own conversion clips at 255."""
    # Pillow reads 16-bit PGM files as 32-bit integers
    if image.mode.startswith("I;16") or (image.mode == "I" and file_format == "PPM"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise UserError("its pixels are 32-bit numbers of unknown range: save it with 8 or 16 bits")
    return image


def _fit(image: Image.Image, shape: Shape) -> np.ndarray:
    if image.mode == "P" or image.has_transparency_data:
        # transparent pixels hide arbitrary colours: show them on white, as a page would
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("L" if shape.channels == 1 else "RGB")
    if image.size != (shape.width, shape.height):
        image = ImageOps.fit(image, (shape.width, shape.height), Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    return pixels[None] if shape.channels == 1 else pixels.transpose(2, 0, 1)
