"""Memory maps that do not fit in RAM: advises the kernel which rows are read next."""

import mmap

import numpy as np

LARGE = 2**28
"""Bytes; smaller arrays stay in memory once they have been read."""


class Prefetcher:
    """Prepares a memory map for reading rows in random order.

    By default the kernel fetches pages one by one as they are touched, with megabytes around each
    that are not needed. Advised in advance, it fetches exactly the pages of a batch at once: with
    RAM for half of the images, hundreds of times as fast. Small arrays, arrays in memory and
    systems without such advice are left as they are.

    Args:
        images: (N, ...), mapped from a file or not.
    """

    def __init__(self, images: np.ndarray) -> None:
        self.map = _map_of(images) if images.nbytes >= LARGE else None
        if self.map is not None:
            start = np.frombuffer(self.map, np.uint8).ctypes.data
            self.offset = images.ctypes.data - start
            self.row_bytes = images.strides[0]
            self.map.madvise(mmap.MADV_RANDOM)

    def prefetch(self, rows: np.ndarray) -> None:
        """Starts fetching the pages of some rows, without waiting for them."""
        if self.map is None:
            return
        for begin in (self.offset + np.sort(rows) * self.row_bytes).tolist():
            page = begin - begin % mmap.PAGESIZE
            self.map.madvise(mmap.MADV_WILLNEED, page, begin + self.row_bytes - page)


def _map_of(images: np.ndarray) -> mmap.mmap | None:
    """The memory map behind an array, if there is one and the system takes advice on it."""
    owner: object = images
    while isinstance(owner, np.ndarray):
        owner = owner.base
    supported = hasattr(mmap, "MADV_RANDOM") and hasattr(mmap, "MADV_WILLNEED")
    return owner if supported and isinstance(owner, mmap.mmap) else None
