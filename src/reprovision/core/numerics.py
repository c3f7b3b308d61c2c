"""Floating-point numbers: the same bytes on every x86-64 processor, or as fast as this one can.

A sum of floating-point numbers depends on its order, and each library chooses the order by the
processor it finds: by the width of its vectors, its maker, the number of threads. Portable numerics
makes all of them choose as for a processor with AVX2 and FMA, which nearly every x86-64 processor
since 2015 has. The libraries read these settings once, when they are loaded: therefore
`stages/__init__.py` calls `set_numerics` before anything else.
"""

import os
import platform
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from reprovision.core.errors import UserError
from reprovision.core.yaml_files import load_yaml

Numerics = Literal["portable", "native"]

PORTABLE = {
    # torch's own kernels
    "ATEN_CPU_CAPABILITY": "avx2",
    # convolutions
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    # matrix products in torch: AVX2 would be honoured on Intel's processors only
    "MKL_CBWR": "COMPATIBLE",
    # NumPy would compute exponentials and logarithms by other polynomials with AVX-512
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    # matrix products in NumPy and SciPy
    "OPENBLAS_CORETYPE": "Haswell",
    "OPENBLAS_NUM_THREADS": "1",
}
"""Environment variables that choose the same kernels on every processor."""

FAMILIES = ("ATEN_", "DNNL_", "GOMP_", "KMP_", "MKL_", "NPY_", "OMP_", "ONEDNN_", "OPENBLAS_")
"""Beginnings of the environment variables that those libraries read."""

QUIET = {"GOMP_SPINCOUNT": "3000"}
"""A thread of OpenMP spins while it waits for work. On a machine with other load, this takes CPU
time from the threads that work: training of small networks took ten times as long. A hundredth of
the default wait costs nothing on an idle machine, and changes no result."""

HARMLESS = (*QUIET, "KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK")
"""Set by us and, when it is imported, by scikit-learn."""

DEFEATING = ("OMP_DYNAMIC", "OMP_THREAD_LIMIT")
"""Would give torch fewer threads than `train.threads`: it waits for the others without end."""

LIBRARIES = ("numpy", "torch")


def read_numerics(path: str | Path = "params.yaml") -> Numerics:
    """`numerics` of params.yaml; what is wrong with the file otherwise, `load_params` reports."""
    tree = load_yaml(path)
    return "native" if isinstance(tree, dict) and tree.get("numerics") == "native" else "portable"


def set_numerics(numerics: Numerics) -> None:
    """Sets the environment variables of portable or native numerics, whatever the user has set.

    Raises:
        UserError: numerics is portable, and a library is loaded already, or the processor can't.
    """
    if numerics == "native":
        _clear(DEFEATING)
        os.environ.update(QUIET)
        return
    if not has_avx2():
        raise UserError(
            "numerics=portable needs an x86-64 processor with AVX2 and FMA, and this one "
            f"({platform.machine()}) is not: set numerics=native"
        )
    loaded = [name for name in LIBRARIES if name in sys.modules]
    if loaded and not PORTABLE.items() <= os.environ.items():
        raise UserError(
            f"{loaded[0]} was loaded before numerics=portable could be set: remove what loads it "
            "when Python starts, or set numerics=native"
        )
    _clear(relevant_variables())
    os.environ.update(PORTABLE | QUIET)


def relevant_variables() -> dict[str, str]:
    """What is set of the environment variables that those libraries read, and may change bytes."""
    found = {name: value for name, value in os.environ.items() if name.startswith(FAMILIES)}
    return {name: value for name, value in found.items() if name not in HARMLESS}


def _clear(names: Iterable[str]) -> None:
    for name in names:
        os.environ.pop(name, None)


def has_avx2(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor has AVX2 and FMA.

    Asked of Linux, because the libraries would be loaded with settings that others crash with.
    """
    if platform.machine() not in ("x86_64", "AMD64"):
        return False
    return not cpuinfo.exists() or {"avx2", "fma"} <= set(cpuinfo.read_text("utf-8").split())
