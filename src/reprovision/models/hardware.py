"""What a network runs on: device, threads, number format; and what decides the bytes."""

import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import torch

from reprovision.core.errors import UserError
from reprovision.core.numerics import relevant_variables
from reprovision.core.params import Params

VECTORS = ("amx", "avx", "fma")
"""Beginnings of the names of instruction sets that kernels are chosen by."""


def choose_device(params: Params) -> torch.device:
    """The device of `train.device`.

    `auto` is the CPU with portable numerics, else CUDA, else MPS, else the CPU.

    Raises:
        UserError: the device is not available.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    best = next(name for name, there in available.items() if there)
    if params.is_portable:
        if best != "cpu":
            print(f"training on the CPU for portable results: numerics=native uses {best}")
        return torch.device("cpu")
    if params.train.device == "auto":
        return torch.device(best)
    if not available[params.train.device]:
        raise UserError(
            f"train.device is {params.train.device}, which this machine does not have: use auto"
        )
    return torch.device(params.train.device)


def set_threads(params: Params, processes: int = 1) -> None:
    """Lets torch use `train.threads` CPU threads; `auto` means all processors it may run on.

    Sums are split among threads, so their number can change the last bits of a result.

    Args:
        processes: that share the processors.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    available = (len(affinity(0)) if affinity else os.cpu_count()) or 1
    auto = max(1, available // processes)
    threads = auto if params.train.threads == "auto" else params.train.threads
    if threads * processes > available:
        shared = f" for each of {processes} processes" if processes > 1 else ""
        print(
            f"warning: train.threads is {threads}{shared}, but there are {available} processors: "
            "threads that wait for each other can be many times slower",
            file=sys.stderr,
        )
    torch.set_num_threads(threads)


def require_compiler(device: torch.device) -> None:
    """Raises a UserError where `train.compile` needs a C++ compiler and there is none."""
    known = (os.environ.get("CXX", "g++"), "clang++")
    if device.type == "cpu" and not any(shutil.which(name) for name in known):
        raise UserError(
            "train.compile needs a C++ compiler on the CPU: install g++, or set train.compile=false"
        )


def set_deterministic(device: torch.device) -> None:
    """Makes torch use deterministic algorithms, and fail if an operation has none."""
    # on MPS max-pooling has no deterministic gradient
    torch.use_deterministic_algorithms(True, warn_only=device.type == "mps")
    # by default torch fills new tensors in every step, for code that reads uninitialized memory
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def choose_precision(params: Params, device: torch.device) -> torch.dtype:
    """The number format of `train.precision`.

    `auto` is float32 with portable numerics, else bfloat16 where it is fast: on CPUs with
    AVX512-BF16 or AMX instructions and on NVIDIA GPUs since Ampere. The parameters themselves are
    always float32.
    """
    if params.is_portable or params.train.precision == "fp32":
        return torch.float32
    if params.train.precision == "bf16":
        return torch.bfloat16
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        able = torch.cpu.get_capabilities()
        fast = device.type == "cpu" and bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return torch.bfloat16 if fast else torch.float32


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager[object]:
    """Computes matrix products in the given format."""
    if precision == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, precision)


def describe_hardware(
    device: torch.device, precision: torch.dtype, processes: int = 1
) -> dict[str, str]:
    """Device, number format, CPU threads, and processes where there are several."""
    is_cuda = device.type == "cuda"
    several = {"processes": str(processes)} if processes > 1 else {}
    return several | {
        "device": torch.cuda.get_device_name(device) if is_cuda else device.type,
        "precision": str(precision).removeprefix("torch."),
        "threads": str(torch.get_num_threads()),
    }


def describe_numerics(params: Params, hardware: Mapping[str, str]) -> dict[str, str]:
    """What decides the bytes of a result, beside params, data, code and package versions.

    With portable numerics nothing does; with native numerics all that kernels are chosen by.
    """
    if params.is_portable:
        return {"numerics": params.numerics}
    able = torch.cpu.get_capabilities()
    return {
        "numerics": params.numerics,
        **hardware,
        "processor": str(able.get("cpu_name", "")),
        "instructions": " ".join(sorted(k for k in able if k.startswith(VECTORS) and able[k])),
        # fewer than the processor has, where ATEN_CPU_CAPABILITY says so
        "kernels": torch.backends.cpu.get_cpu_capability(),
        **relevant_variables(),
    }
