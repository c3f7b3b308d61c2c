"""Portable numerics: what is set before a library is loaded, and what is refused."""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import pytest
from project import HOSTILE, NOT_INHERITED, ROOT

from reprovision.core import numerics
from reprovision.core.errors import UserError
from reprovision.core.numerics import PORTABLE, has_avx2, set_numerics

SET = "from reprovision.core.numerics import *; set_numerics('{}'); import os, sys\n"

KERNELS = """
import numpy, torch
print(torch.backends.cpu.get_cpu_capability())
print(*numpy.show_config(mode="dicts")["SIMD Extensions"]["found"])
"""


def python(code: str, variables: Mapping[str, str] = {}) -> str:
    """Runs code in a fresh process; returns what it prints on stdout, and errors on stderr."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(NOT_INHERITED)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=kept | {"PYTHONPATH": str(ROOT / "src")} | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("variables", [{}, HOSTILE])
def test_every_library_chooses_the_kernels_of_avx2(variables: dict[str, str]) -> None:
    assert python(SET.format("portable") + KERNELS, variables).splitlines() == ["AVX2", "X86_V3"]


def test_all_variables_of_these_libraries_are_replaced() -> None:
    seen = python(SET.format("portable") + "print(sorted(relevant_variables()))", HOSTILE)
    assert seen.strip() == str(sorted(PORTABLE))


def test_native_numerics_keeps_them_without_those_that_hang() -> None:
    seen = python(SET.format("native") + "print(sorted(relevant_variables()))", HOSTILE)
    kept = HOSTILE.keys() - {"OMP_DYNAMIC", "OMP_THREAD_LIMIT", "GOMP_SPINCOUNT"}
    assert seen.strip() == str(sorted(kept))


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_a_library_that_is_loaded_already_is_refused(library: str) -> None:
    output = python(f"import {library}\n" + SET.format("portable"))
    assert "was loaded before numerics=portable could be set" in output


@pytest.mark.parametrize(
    ("machine", "flags", "able"),
    [
        ("x86_64", "sse4_2 avx avx2 fma", True),
        ("x86_64", "sse4_2 avx", False),
        ("x86_64", None, True),
        ("aarch64", None, False),
    ],
)
def test_a_processor_without_avx2_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str, flags: str | None, able: bool
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    cpuinfo = tmp_path / "cpuinfo"
    if flags:
        cpuinfo.write_text(f"vendor_id : any\nflags : {flags}\n")
    assert has_avx2(cpuinfo) == able
    monkeypatch.setattr(numerics, "has_avx2", lambda: able)
    with nullcontext() if able else pytest.raises(UserError, match="set numerics=native"):
        set_numerics("portable")
