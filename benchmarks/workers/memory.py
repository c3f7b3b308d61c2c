"""Peak memory of a stage, measured from outside."""

import resource
import subprocess
import sys


def stage(arguments: list[str]) -> dict[str, float]:
    """Peak resident memory of `python -m ARGUMENTS`, run where this process runs.

    This process is small: a child's peak starts from what its parent had.
    """
    subprocess.run([sys.executable, "-m", *arguments], stdout=sys.stderr, check=True)
    # macOS counts bytes, everyone else KiB
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
    return {"peak_mib": peak / 2**20}
