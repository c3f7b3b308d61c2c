"""Freed memory is kept, so that nothing waits for the system to hand it out again."""

import platform
import subprocess
import sys

import pytest

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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_a_large_block_that_was_freed_costs_nothing_to_get_again() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    pages_of_a_block = 2**26 // 4096
    assert int(done.stdout) < pages_of_a_block / 10
