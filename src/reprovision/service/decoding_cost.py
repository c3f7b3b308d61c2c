"""Files that would be decoded for minutes, although they are small and state few pixels."""

import io
import re

from PIL import Image

from reprovision.images.preprocessing import PNG, TooLargeError

MAX_SCANS = 100
"""Of a JPEG, as libtiff has it. Each passes over all pixels, and 100 bytes are enough for one:
500 scans in 170 KB with 64 million pixels take 24 s (one core of an AMD EPYC, n=1)."""

MAX_PARTS = 5000
"""Segments of a JPEG before its last scan, or chunks of a PNG; one more for each KiB of the file.
Python reads them: 1.7 million chunks in 20 MiB take 16 s (as above)."""

MAX_PYTHON_BYTES = 2**22
"""Of a file whose pixels Pillow decodes in Python: 20 MiB of them take 20 s (as above)."""

MAX_COMMENTS = 100
"""Of a PNM file with numbers as text: Pillow's time grows with their square."""

JPEG = b"\xff\xd8\xff"

MARKER = re.compile(rb"\xff+([^\x00\xff\x01\xd0-\xd8])")
"""Of a segment of a JPEG that has a length, or its end; pixels hold no such bytes."""

END_OF_IMAGE, START_OF_SCAN = b"\xd9", b"\xda"

PYTHON_DECODERS = ("bmp_rle", "ppm", "ppm_plain")
"""As Pillow names them."""


def check_parts(content: bytes) -> None:
    """Refuses an image file of too many parts, before Pillow opens it.

    Raises:
        TooLargeError: it takes long to read or decode for its size.
    """
    if content.startswith(JPEG):
        _check_jpeg(content)
    elif content.startswith(PNG):
        _check_png(content)
    elif content.startswith((b"P1", b"P2", b"P3")) and content.count(b"#") > MAX_COMMENTS:
        raise TooLargeError(f"it has more than {MAX_COMMENTS} comments: save it as PNG")


def check_decoder(content: bytes) -> None:
    """Refuses a large file that Pillow can open, but decodes in Python: some BMP and PNM files.

    Raises:
        TooLargeError: it takes long to decode for its size.
    """
    if len(content) <= MAX_PYTHON_BYTES or not content.startswith((b"BM", b"P")):
        return
    with Image.open(io.BytesIO(content), formats=("BMP", "PPM")) as image:
        if any(tile.codec_name in PYTHON_DECODERS for tile in image.tile):
            raise TooLargeError(
                f"a file of this kind has at most {MAX_PYTHON_BYTES // 2**20} MiB: save it as PNG"
            )


def _check_jpeg(content: bytes) -> None:
    position, scans, segments = 2, 0, 0
    # as libjpeg does, it skips whatever is between two segments
    while (found := MARKER.search(content, position)) and found[1] != END_OF_IMAGE:
        position = found.end() + int.from_bytes(content[found.end() : found.end() + 2])
        segments += 1
        scans += found[1] == START_OF_SCAN
        if scans > MAX_SCANS:
            raise TooLargeError(f"it has more than {MAX_SCANS} scans: save it again")
        _check_count(content, segments)


def _check_png(content: bytes) -> None:
    position, chunks = len(PNG), 0
    while position < len(content) and content[position + 4 : position + 8] != b"IEND":
        position += 12 + int.from_bytes(content[position : position + 4])
        chunks += 1
        _check_count(content, chunks)


def _check_count(content: bytes, parts: int) -> None:
    if parts > MAX_PARTS + len(content) // 1024:
        raise TooLargeError("it consists of too many parts: save it again")
