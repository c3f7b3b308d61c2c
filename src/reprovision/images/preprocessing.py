"""From an image file to the pixels that a network takes, in training and wherever it runs later.

Needs numpy and Pillow only, and pillow-heif for HEIC. The export stage puts a copy of this file
beside the model, so that another program gives the model the very pixels that training did:

    pixels = preprocess("photo.jpg", Preprocessing(**description))
"""

import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from threading import Lock
from typing import Literal, get_args

import numpy as np
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError

MAX_SIDE = 4096
MAX_BYTES = 2**29
"""Of a file."""
MAX_PIXELS = 64_000_000
"""Of the decoded image; more are refused, because a small file can claim any size. A large JPEG is
decoded at a smaller scale."""

MANY_PIXELS = 4_000_000
"""Images with more are decoded one at a time, so that threads don't multiply their memory."""

_one_large_image = Lock()

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Others are refused, whatever the file's suffix: Pillow runs Ghostscript for EPS."""

FOREIGN = (
    (0, b"%PDF", "a PDF document"),
    (0, b"%!PS", "a PostScript file"),
    (0, b"<svg", "an SVG drawing"),
    (0, b"<?xml", "an XML file, perhaps an SVG drawing"),
    (0, b"<!DOCTYPE", "a web page"),
    (0, b"<html", "a web page"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"\xff\x0a", "a JPEG XL image"),
    (4, b"JXL ", "a JPEG XL image"),
    (4, b"jP  ", "a JPEG 2000 image"),
    (4, b"ftypisom", "a video"),
    (4, b"ftypmp4", "a video"),
    (4, b"ftypqt", "a video"),
    (128, b"DICM", "a DICOM file"),
)
"""Offset and bytes by which other files are recognised, and what they are."""

PNG = b"\x89PNG\r\n\x1a\n"

HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")

Resize = Literal["crop", "squash", "pad"]
Interpolation = Literal["nearest", "box", "bilinear", "bicubic", "lanczos"]


class ImageError(ValueError):
    """An image can't be used; the message says why, without its name."""


class UnknownFormatError(ImageError):
    """It is not an image, or of a format that can't be read."""


class TooLargeError(ImageError):
    """It has too many bytes or pixels."""


@dataclass(frozen=True)
class Preprocessing:
    """How images become pixels.

    Attributes:
        height, width: of the result, in pixels.
        channels: 1 for grayscale, 3 for RGB.
        resize: `crop` scales the image until it covers the size, and cuts off what sticks out;
            `squash` changes its proportions; `pad` scales it until it fits, and fills the rest.
        interpolation: of the scaled image.
        background: colour behind transparent pixels and beside a padded image, as
            Pillow names it, e.g. `white` or `#f0f0f0`.
        bits: that count in grayscale pixels of more than 8 bits; their upper 8 are used. Cameras
            often write 12 bits into files of 16. Pillow reads deep colours with 8 bits.

    Raises:
        ValueError: a value is not one of these.
    """

    height: int
    width: int
    channels: int
    resize: Resize = "crop"
    interpolation: Interpolation = "bilinear"
    background: str = "white"
    bits: int = 16

    def __post_init__(self) -> None:
        if not (1 <= self.height <= MAX_SIDE and 1 <= self.width <= MAX_SIDE):
            raise ValueError(f"height and width must be 1 to {MAX_SIDE}")
        if self.channels not in (1, 3):
            raise ValueError("channels must be 1 or 3")
        if self.resize not in get_args(Resize):
            raise ValueError(f"resize must be one of {', '.join(get_args(Resize))}")
        if self.interpolation not in get_args(Interpolation):
            raise ValueError(f"interpolation must be one of {', '.join(get_args(Interpolation))}")
        if not 8 <= self.bits <= 16:
            raise ValueError("bits must be 8 to 16")
        ImageColor.getrgb(self.background)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.channels, self.height, self.width

    @property
    def bytes(self) -> int:
        """Size of an image's pixels."""
        return self.channels * self.height * self.width


def preprocess(image: bytes | str | PathLike[str], how: Preprocessing) -> np.ndarray:
    """The pixels of an image file, upright by EXIF, as uint8 (C, H, W).

    Args:
        image: the file's content or its path.

    Raises:
        ImageError: the file is missing, damaged, of another format, or too large when decoded.
    """
    with _translate_errors():
        content = image if isinstance(image, bytes) else _read(image)
        formats = _formats(content)
        _check_png(content)
        with Image.open(io.BytesIO(content), formats=formats) as opened:
            return _decode(opened, how)


def fit_array(image: np.ndarray, how: Preprocessing) -> np.ndarray:
    """The same for pixels, uint8 (C, H, W), that are not in a file."""
    return image if image.shape == how.shape else _fit(to_pillow(image), how)


def image_size(image: bytes | str | PathLike[str]) -> tuple[int, int]:
    """Height and width of an image file, upright by EXIF, from its header.

    Args:
        image: the file's content or its path.

    Raises:
        ImageError: as `preprocess` does.
    """
    with (
        _translate_errors(),
        io.BytesIO(image) if isinstance(image, bytes) else Path(image).open("rb") as file,
    ):
        formats = _formats(file.read(BEGINNING))
        file.seek(0)
        with Image.open(file, formats=formats) as opened:
            # for the EXIF data of a PNG, Pillow would decode all of it
            has_exif = opened.format != "PNG" or "exif" in opened.info
            turned = has_exif and opened.getexif().get(ORIENTATION, 1) in TURNED
            return opened.size if turned else (opened.height, opened.width)


BEGINNING = 512
"""Bytes of a file by which its kind is recognised."""

ORIENTATION = 0x0112
TURNED = (5, 6, 7, 8)
"""Values of EXIF's orientation by which width and height change places."""


def to_pillow(image: np.ndarray) -> Image.Image:
    """A uint8 array (C, H, W) of one or three channels as a Pillow image."""
    return Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))


def _read(path: str | PathLike[str]) -> bytes:
    # a pipe or a device would block, or never end; pathlib takes twice as long
    if not os.path.isfile(path):  # noqa: PTH113
        raise ImageError("there is no such file")
    with open(path, "rb") as file:  # noqa: PTH123
        if os.fstat(file.fileno()).st_size > MAX_BYTES:
            raise TooLargeError(f"the file is larger than {MAX_BYTES // 2**20} MiB: scale it down")
        return file.read()


def _check_png(content: bytes) -> None:
    """Compares the checksums of a PNG, which decoding ignores.

    Pillow's `verify` does the same, but the file must then be opened again: small images take a
    third longer (60 and 80 µs, one core of an AMD EPYC, n=3).
    """
    if not content.startswith(PNG):
        return
    start = len(PNG)
    while start < len(content):
        end = start + 8 + int.from_bytes(content[start : start + 4])
        if zlib.crc32(content[start + 4 : end]) != int.from_bytes(content[end : end + 4]):
            raise ImageError("a checksum in it is wrong, so that it is damaged")
        if content[start + 4 : start + 8] == b"IEND":
            return
        start = end + 4


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Raises an ImageError for whatever Pillow and its decoders raise."""
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise TooLargeError("it has more than 178 million pixels: scale it down") from None
    except UnidentifiedImageError:
        raise UnknownFormatError("it is not an image, or damaged at its beginning") from None
    # nearly any exception on a damaged file
    except Exception as error:
        raise ImageError(f"{error}" or type(error).__name__) from error


def _formats(content: bytes) -> tuple[str, ...]:
    """The formats to try for a file that begins with these bytes."""
    # AVIF files may begin with a brand that both have, and name their own later
    is_heic = content[4:8] == b"ftyp" and content[8:12] in HEIC_BRANDS
    if is_heic and b"avif" not in content[8:64]:
        try:
            from pillow_heif import register_heif_opener
        except ModuleNotFoundError:
            raise UnknownFormatError(
                "it is a HEIC photo: install pillow-heif (`uv sync --extra heic`), or save it as "
                "JPEG"
            ) from None
        register_heif_opener()
        return ("HEIF",)
    beginning = content[:BEGINNING].lower()
    if not beginning.strip(b"\0"):
        raise ImageError("it is empty")
    for offset, magic, what in FOREIGN:
        if beginning.startswith(magic.lower(), offset):
            raise UnknownFormatError(f"it is {what}: save it as JPEG or PNG")
    return FORMATS


def _decode(image: Image.Image, how: Preprocessing) -> np.ndarray:
    # whichever way it is turned
    side = 2 * max(how.height, how.width)
    image.draft(None, (side, side))
    pixels = image.width * image.height
    if pixels > MAX_PIXELS:
        raise TooLargeError(
            f"its {image.width}x{image.height} pixels are more than the "
            f"{MAX_PIXELS // 10**6} million that are decoded: scale it down"
        )
    with _one_large_image if pixels > MANY_PIXELS else nullcontext():
        bits = _bits(image, how)
        file_format = image.format
        # without a copy
        ImageOps.exif_transpose(image, in_place=True)
        return _fit(_to_8_bits(image, file_format, bits), how)


def _bits(image: Image.Image, how: Preprocessing) -> int:
    """The bits that count in each pixel; TIFF files say it, and PGM files are scaled to 16."""
    if image.format == "PPM":
        return 16
    stored = getattr(image, "tag_v2", {}).get(258, (16,))
    return min(how.bits, max(8, stored[0]))


def _to_8_bits(image: Image.Image, file_format: str | None, bits: int) -> Image.Image:
    """Keeps the upper eight bits of deeper pixels; Pillow's own conversion clips at 255."""
    # Pillow reads 16-bit PGM files as 32-bit integers
    if image.mode.startswith("I;16") or (image.mode == "I" and file_format == "PPM"):
        upper = np.minimum(np.asarray(image).astype(np.uint32) >> (bits - 8), 255)
        return Image.fromarray(upper.astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ImageError(
            "its pixels are 32-bit numbers of unknown range: save it with 8 or 16 bits"
        )
    return image


def _fit(image: Image.Image, how: Preprocessing) -> np.ndarray:
    if image.mode == "P" or image.has_transparency_data:
        # transparent pixels hide arbitrary colours
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, how.background), image)
    mode = "L" if how.channels == 1 else "RGB"
    # converting copies even where nothing changes
    image = _resize(image if image.mode == mode else image.convert(mode), how)
    pixels = np.asarray(image)
    return pixels[None] if how.channels == 1 else pixels.transpose(2, 0, 1)


def _resize(image: Image.Image, how: Preprocessing) -> Image.Image:
    size, method = (how.width, how.height), Image.Resampling[how.interpolation.upper()]
    if image.size == size:
        return image
    if how.resize == "squash":
        return image.resize(size, method)
    if how.resize == "pad":
        return ImageOps.pad(image, size, method, how.background)
    return ImageOps.fit(image, size, method)
