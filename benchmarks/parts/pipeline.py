"""pipeline: what processes, imports and DVC add to the computing of `dvc repro` on the digits."""

import subprocess
import sys
import time
from pathlib import Path

from benchmarks.data import copy_repository, scratch
from benchmarks.process import environment, fresh
from benchmarks.samples import Row, Sample, median, series, spread

TITLE = "The whole pipeline on the digits"

ROUNDS, TOTAL, NO_OP = 3, 30.0, 1.0
TOY_PARAMS = {"data.limit": 200, "train.epochs": 1}
STARTING = "Running stage '"


def take(toy: bool) -> list[Sample]:
    """`dvc repro` from nothing, again without anything to do, and the stages in one process.

    Each in new copies of the repository; the packages are byte-compiled, the copy's code is not.
    """
    samples = []
    changes = TOY_PARAMS if toy else {}
    for number in range(1 if toy else ROUNDS):
        with scratch() as folder:
            repository, warm, timed = (
                copy_repository(folder / name, changes) for name in ("repro", "warm", "timed")
            )
            values = {
                "repro": _repro(repository),
                "no-op": {"total": _repro(repository)["total"]},
                "computing": fresh("pipeline.stages", cwd=warm, folders=[str(warm), str(timed)]),
            }
        print(f"  round {number + 1}: {values}", flush=True)
        samples += [Sample("digits", variant, number, found) for variant, found in values.items()]
    return samples


def rows(samples: list[Sample]) -> list[Row]:
    """Wall times by stage; the overhead is what computing doesn't explain."""
    computing = [s.values for s in samples if s.variant == "computing"]
    pure = [sum(values.values()) for values in computing]
    total = series(samples, "digits", "repro", "total")
    no_op = series(samples, "digits", "no-op", "total")
    overhead = [whole - part for whole, part in zip(total, pure, strict=True)]
    found = [
        Row(
            f"stage {stage}",
            spread(series(samples, "digits", "repro", stage), "s"),
            f"computing {spread([values[stage] for values in computing], 's')}",
            "",
        )
        for stage in computing[0]
    ]
    return [
        *found,
        Row(
            "`dvc repro` from nothing",
            spread(total, "s", 1),
            f"computing {spread(pure, 's', 1)}",
            f"{median(total):.1f} s, of which {median(overhead):.1f} s overhead",
            f"at most {TOTAL:g} s",
            median(total) <= TOTAL,
        ),
        Row(
            "`dvc repro` with nothing to do",
            spread(no_op, "s"),
            "",
            f"{median(no_op):.2f} s",
            f"at most {NO_OP:g} s",
            median(no_op) <= NO_OP,
        ),
    ]


def _repro(repository: Path) -> dict[str, float]:
    """Seconds of `dvc repro`, and of each stage from when DVC starts it to the next one's start.

    What DVC does with a stage's outputs counts to the stage.
    """
    began = time.perf_counter()
    starts: dict[str, float] = {}
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "dvc", "repro"],
        cwd=repository,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout, "it is a pipe"
        for line in process.stdout:
            if line.startswith(STARTING):
                starts[line.removeprefix(STARTING).split("'")[0]] = time.perf_counter()
    end = time.perf_counter()
    assert process.returncode == 0, "dvc repro succeeds"
    ends = [*starts.values(), end][1:]
    stages = {name: stop - starts[name] for name, stop in zip(starts, ends, strict=True)}
    return stages | {"total": end - began}
