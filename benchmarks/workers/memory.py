"""The most memory that a stage takes, seen from outside."""

import resource
import subprocess
import sys


def recorder() -> dict[str, float]:
    """Peak resident memory of a process that has imported what writes to MLflow."""
    # `stage` below must stay small
    import reprovision.tracking.record  # noqa: F401
    from benchmarks.workers.machine import memory_mib

    return {"peak_mib": memory_mib("VmHWM")}


def stage(arguments: list[str]) -> dict[str, float]:
    """Peak resident memory of `python -m ARGUMENTS`, run where this process runs.

    This process is small: a child's figure begins with what its parent had.
    """
    subprocess.run([sys.executable, "-m", *arguments], stdout=sys.stderr, check=True)
    # macOS counts bytes, everyone else KiB
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
    return {"peak_mib": peak / 2**20}
