"""What training runs on: device, threads, number format, deterministic algorithms."""

import os
import sys
from contextlib import AbstractContextManager, nullcontext

import torch

from reprovision.core.errors import UserError
from reprovision.core.params import TrainParams


def choose_device(params: TrainParams) -> torch.device:
    """The device of `train.device`; `auto` is CUDA, else MPS, else the CPU.

    Raises:
        UserError: the device is not available.
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
    """Lets torch use `train.threads` CPU threads; `auto` means all processors it may run on.

    Sums are split among threads, so their number can change the last bits of a result.
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


def set_deterministic(device: torch.device) -> None:
    """Makes torch use deterministic algorithms, and fail if an operation has none."""
    # on MPS max-pooling has no deterministic gradient
    torch.use_deterministic_algorithms(True, warn_only=device.type == "mps")
    # by default torch fills new tensors in every step, for code that reads uninitialized memory
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def choose_precision(params: TrainParams, device: torch.device) -> torch.dtype:
    """The number format of `train.precision`; `auto` is bfloat16 where it is fast.

    That is on CPUs with AVX512-BF16 or AMX instructions and on NVIDIA GPUs since Ampere. The
    parameters themselves are always float32.
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
