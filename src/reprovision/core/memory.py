"""How the process gets its memory from the system."""

import ctypes
import platform
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of mallopt(3)."""


def keep_freed_memory() -> None:
    """Lets glibc keep what is freed instead of giving it back to the kernel; others do as they do.

    A step frees and asks for the same large blocks again and again, and each time the kernel would
    hand them out page by page, filled with zeros: up to half of a small network's training time,
    and a tenth of its evaluation.
    """
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        # older versions refuse more than 32 MiB; the second setting alone would make it worse
        if mallopt(M_MMAP_THRESHOLD, 2**30) or mallopt(M_MMAP_THRESHOLD, 2**25):
            mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
