"""Prefetching rows of a memory map that does not fit in RAM."""

import ctypes
import mmap
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from reprovision.data.prefetch import LARGE, Prefetcher


def cached(images: np.ndarray) -> np.ndarray:
    """Which rows of one page each, at the start of a page, are in memory already: (N,) bool."""
    pages = np.empty(len(images), np.uint8)
    arguments = (ctypes.c_void_p(images.ctypes.data), images.nbytes)
    assert ctypes.CDLL(None).mincore(*arguments, ctypes.c_void_p(pages.ctypes.data)) == 0
    return (pages & 1).astype(bool)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can be asked what is in memory")
def test_only_the_rows_of_a_batch_are_fetched(tmp_path: Path) -> None:
    count = LARGE // mmap.PAGESIZE
    (tmp_path / "images").write_bytes(bytes(LARGE))
    with (tmp_path / "images").open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    mapped = np.memmap(tmp_path / "images", np.uint8, "c", shape=(count, 1, 1, mmap.PAGESIZE))
    images = mapped.view(np.ndarray)
    assert not cached(images).any()

    order = np.random.default_rng(0).permutation(count)
    wanted, touched = order[:500], order[500:600]
    Prefetcher(images).prefetch(wanted)
    deadline = time.monotonic() + 10
    while not cached(images)[wanted].all():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    images[touched].sum()
    assert cached(images).sum() == len(wanted) + len(touched)


def test_small_arrays_and_arrays_in_memory_need_no_advice() -> None:
    Prefetcher(np.zeros((10, 1, 4, 4), np.uint8)).prefetch(np.arange(10))
