"""Fresh processes to measure in: nothing that one measurement leaves behind reaches the next.

    python -m benchmarks.process MODULE.FUNCTION JSON

calls a function of `benchmarks.workers` with keyword arguments and prints what it returns.
"""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.samples import Sample
from reprovision.core.memory import keep_freed_memory
from reprovision.core.numerics import Numerics, read_numerics, set_numerics
from reprovision.recipes import load_recipes

ROOT = Path(__file__).resolve().parent.parent
"""The repository."""

OURS = ("distributed", "ours", "overhead", "photos", "pipeline", "preparing")
"""Workers that do what a stage does, in a process set up as `run_stage` does it; what is compared
with runs as it comes."""

STRIPPED = ("DVC_", "MLFLOW_")
"""Settings of these programs that would change what is measured."""


def environment() -> dict[str, str]:
    """What a stage started by hand would see, with this Python first on the path."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(STRIPPED)}
    kept["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    return kept


def fresh(
    worker: str, cwd: Path = ROOT, group: Path | None = None, **arguments: Any
) -> dict[str, Any]:
    """What a worker returns.

    Args:
        worker: `MODULE.FUNCTION` in `benchmarks.workers`.
        cwd: the repository, or a copy of it whose code is then measured.
        group: a control group (its folder) that the process joins before it does anything.
        arguments: of the function, as JSON can express them.
    """

    def join() -> None:
        if group:
            (group / "cgroup.procs").write_text(str(os.getpid()))

    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.process", worker, json.dumps(arguments)],
        cwd=cwd,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        preexec_fn=join,  # this process has no other threads
    )
    values: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return values


def measure(case: str, variant: str, number: int, worker: str, **arguments: Any) -> Sample:
    """One sample from a fresh process; a line tells of it."""
    values = fresh(worker, **arguments)
    shown = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
    print(f"  {case}, {variant}, round {number + 1}: {shown}", flush=True)
    return Sample(case, variant, number, values)


def _main() -> None:
    module, function = sys.argv[1].split(".")
    arguments = json.loads(sys.argv[2])
    if module in OURS:
        set_numerics(_numerics(arguments))
        keep_freed_memory()
    worker = getattr(importlib.import_module(f"benchmarks.workers.{module}"), function)
    print(json.dumps(worker(**arguments)))


def _numerics(arguments: dict[str, Any]) -> Numerics:
    """Those that a worker asks for, else its recipe's, else those of params.yaml."""
    recipe = load_recipes().get(arguments.get("recipe", ""))
    given = arguments.get("numerics") or (recipe.params["numerics"] if recipe else None)
    return given or read_numerics(ROOT / "params.yaml")


if __name__ == "__main__":
    _main()
