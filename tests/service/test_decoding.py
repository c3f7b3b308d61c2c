"""Image files that take long to decode for their size, and drawings that are odd."""

import io
import struct
import time
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from reprovision.images.preprocessing import Preprocessing, TooLargeError
from reprovision.service.decoding import read_image

HOW = Preprocessing(28, 28, 1)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def many_scans(scans: int, side: int = 2000) -> bytes:
    """A progressive JPEG of one color; a scan says in a few bytes that nothing changes."""

    def segment(marker: int, content: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content

    def scan(first: int, last: int, bits: int) -> bytes:
        return segment(0xDA, bytes([1, 1, 0, first, last, bits]))

    blocks = (side // 8) ** 2
    one_code = bytes([1, *[0] * 15])
    tables = segment(0xDB, bytes([0, *[1] * 64]))
    frame = segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + bytes([1, 0x11, 0]))
    codes = segment(0xC4, b"\x00" + one_code + b"\x00") + segment(
        0xC4, b"\x10" + one_code + b"\xe0"
    )
    averages = scan(0, 0, 0) + bytes(blocks // 8) + b"\x7f"
    # a code of one bit, and 14 bits for a run of 32,767 blocks
    runs = "011111111111111" * -(-blocks // 32767)
    padded = runs + "1" * (-len(runs) % 8)
    nothing = bytes(int(padded[i : i + 8], 2) for i in range(0, len(padded), 8))
    nothing = nothing.replace(b"\xff", b"\xff\0")
    refinements = scan(1, 63, 0x01) + nothing + (scan(1, 63, 0x10) + nothing) * scans
    return b"\xff\xd8" + tables + frame + codes + averages + refinements + b"\xff\xd9"


def many_segments() -> bytes:
    content = encoded(Image.new("L", (8, 8)), "JPEG")
    return content[:2] + b"\xff\xe5\0\2" * 200_000 + content[2:]


def many_chunks() -> bytes:
    content = encoded(Image.new("L", (8, 8)), "PNG")
    chunk = bytes(4) + b"prVt" + struct.pack(">I", zlib.crc32(b"prVt"))
    return content[:33] + chunk * 200_000 + content[33:]


def many_comments() -> bytes:
    return b"P2 100 100 255\n" + b"#\n" * 1_000_000


def text_of_numbers() -> bytes:
    return b"P2 1500 1500 255\n" + b"0 " * 1500**2


def odd_maximum() -> bytes:
    return b"P5 2100 2100 100\n" + bytes(2100**2)


def short_runs() -> bytes:
    pixels = b"\1\5" * 1500**2
    header = struct.pack("<IiiHHIIiiII", 40, 1500, 1500, 1, 8, 1, len(pixels), 0, 0, 256, 0)
    offset = 14 + len(header) + 1024
    return struct.pack("<2sIHHI", b"BM", 0, 0, 0, offset) + header + bytes(1024) + pixels


@pytest.mark.parametrize(
    "make",
    [
        lambda: many_scans(500),
        *(many_segments, many_chunks, many_comments, text_of_numbers, odd_maximum, short_runs),
    ],
)
def test_what_takes_long_to_decode_for_its_size_is_refused_at_once(
    make: Callable[[], bytes],
) -> None:
    content = make()
    start = time.process_time()
    with pytest.raises(TooLargeError, match="save it"):
        read_image(content, HOW, 64_000_000)
    assert time.process_time() - start < 1


def noise(side: int, mode: str = "RGB") -> Image.Image:
    levels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    return Image.fromarray(levels).convert(mode)


@pytest.mark.parametrize(
    "content",
    [
        encoded(noise(1500), "JPEG", progressive=True, quality=95, exif=bytes(50_000)),
        encoded(noise(1500), "PNG"),
        encoded(noise(1500), "PPM"),
        encoded(noise(2200, "L"), "PPM"),
        encoded(noise(1500), "BMP"),
        many_scans(20),
    ],
    ids=["progressive", "png", "ppm", "pgm", "bmp", "scans"],
)
def test_large_images_of_the_usual_kinds_are_read(content: bytes) -> None:
    assert read_image(content, HOW, 64_000_000).shape == (1, 28, 28)
