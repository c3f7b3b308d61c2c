"""Memory: how much is used at a time, and how the process gets it from the system."""

import ctypes
import platform
import sys
from collections.abc import Iterator

CHUNK_ROWS, CHUNK_BYTES = 1024, 2**26
"""The most rows, and the most bytes, that are held in memory at a time."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of mallopt(3)."""


def chunks(count: int, row_bytes: int) -> Iterator[slice]:
    """Slices that cover `count` rows in order, so that memory stays bounded whatever their size."""
    step = max(1, min(CHUNK_ROWS, CHUNK_BYTES // row_bytes))
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def keep_freed_memory() -> None:
    """Makes glibc reuse freed memory instead of returning it to the kernel; a no-op elsewhere.

    A training step frees and allocates the same large blocks again and again, and the kernel would
    map and zero their pages each time: up to half of a small network's training time, and a tenth
    of its evaluation.
    """
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        # older versions refuse more than 32 MiB; the second setting alone would make it worse
        if mallopt(M_MMAP_THRESHOLD, 2**30) or mallopt(M_MMAP_THRESHOLD, 2**25):
            mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
