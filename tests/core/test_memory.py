"""Chunks bound the memory in use; freed memory is reused instead of returned to the system."""

import platform
import subprocess
import sys

import pytest

from reprovision.core.memory import CHUNK_BYTES, CHUNK_ROWS, chunks

CODE = """
import resource
import numpy as np
from reprovision.core.memory import keep_freed_memory

keep_freed_memory()
np.ones(2**26, np.uint8)  # the first time, its pages come from the system
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    np.ones(2**26, np.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_a_large_block_is_reused_after_it_was_freed() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    pages_of_a_block = 2**26 // 4096
    assert int(done.stdout) < pages_of_a_block / 10


@pytest.mark.parametrize("count", [0, 1, CHUNK_ROWS, 2 * CHUNK_ROWS + 1])
def test_chunks_cover_all_rows_once_in_order(count: int) -> None:
    rows = list(range(count))
    assert [row for chunk in chunks(count, 10) for row in rows[chunk]] == rows


@pytest.mark.parametrize(
    ("row_bytes", "expected"), [(1, CHUNK_ROWS), (CHUNK_BYTES // 4, 4), (2 * CHUNK_BYTES, 1)]
)
def test_the_larger_the_rows_the_fewer_are_in_a_chunk(row_bytes: int, expected: int) -> None:
    assert next(chunks(10_000, row_bytes)) == slice(0, expected)
