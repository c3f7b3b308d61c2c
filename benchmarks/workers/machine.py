"""What the machine is, and how much memory this process took."""

import os
from pathlib import Path

from reprovision.tracking.environment import describe_environment


def describe() -> dict[str, str]:
    """Processor, memory, platform and versions."""
    # memory_mib is for processes without torch, too
    import torch

    able = torch.cpu.get_capabilities()
    fast = able.get("avx512_bf16") or able.get("amx_bf16")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return describe_environment() | {
        "cores": str(len(os.sched_getaffinity(0))),
        "bf16": "yes" if fast else "no",
        "memory": f"{memory:.0f} GiB of memory",
    }


def memory_mib(name: str) -> float:
    """A line of /proc/self/status in MiB, e.g. VmHWM: the most that was resident so far.

    Of resource.getrusage's figure a process inherits a part from the one that started it.
    """
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))
