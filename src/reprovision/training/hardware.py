"""What the machine can do: devices, threads, number formats."""

import os
import sys
from contextlib import AbstractContextManager, nullcontext

import torch

from reprovision.core.errors import UserError
from reprovision.core.params import TrainParams


def choose_device(params: TrainParams) -> torch.device:
    """The device of `train.device`; `auto` takes CUDA, else MPS, else the CPU.

    Raises:
        UserError: the device asked for is not there.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if params.device == "auto":
        return torch.device(next(name for name, there in available.items() if there))
    if not available[params.device]:
        raise UserError(
            f"train.device is {params.device}, which this machine does not have: use auto"
        )
    return torch.device(params.device)


def set_threads(params: TrainParams) -> None:
    """Lets torch use `train.threads` CPU threads; `auto` takes all processors it may run on.

    Sums are split among threads, so that their number can change the last bits of a result.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    available = (len(affinity(0)) if affinity else os.cpu_count()) or 1
    threads = available if params.threads == "auto" else params.threads
    if threads > available:
        print(
            f"warning: train.threads is {threads}, but there are {available} processors: "
            "threads that wait for each other can be many times slower",
            file=sys.stderr,
        )
    torch.set_num_threads(threads)


def be_deterministic(params: TrainParams, device: torch.device) -> None:
    """Has torch give the same bytes each time, and fail where it can't; on MPS it only warns."""
    # on MPS the gradient of max-pooling exists in no other way
    mode = "warn" if device.type == "mps" else "error"
    torch.set_deterministic_debug_mode(mode)
    if params.compile:
        # tells the compiler, too, and imports it: a second and 150 MiB
        torch.use_deterministic_algorithms(True, warn_only=mode == "warn")
    # nothing here reads memory that it has not written; filling it takes time in every step
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def choose_precision(params: TrainParams, device: torch.device) -> torch.dtype:
    """The number format of `train.precision`; `auto` takes bfloat16 where it is fast.

    That is on CPUs with AVX512-BF16 or AMX instructions and on GPUs since NVIDIA's Ampere; weights
    stay float32 in any case.
    """
    if params.precision == "auto":
        if device.type == "cuda":
            fast = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            able = torch.cpu.get_capabilities()
            fast = device.type == "cpu" and bool(able.get("avx512_bf16") or able.get("amx_bf16"))
        return torch.bfloat16 if fast else torch.float32
    return torch.bfloat16 if params.precision == "bf16" else torch.float32


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager[object]:
    """Computes matrix products in the given format."""
    if precision == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, precision)
