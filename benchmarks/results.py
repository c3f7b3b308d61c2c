"""Results as files: benchmarks/results/NAME.json, samples with the machine they are from."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.process import ROOT, fresh
from benchmarks.samples import Row, Sample
from reprovision.core.files import write_json
from reprovision.core.git import git_or_none

FOLDER = ROOT / "benchmarks" / "results"

LISTENING = 3.0
"""Seconds over which the background CPU load is measured."""


@dataclass(frozen=True)
class Result:
    """All that one part measured.

    Attributes:
        machine: processor, versions, commit, and the background CPU load just before, in percent of
            all cores, which should be near 0.
        toy: measured on a few images: it means nothing.
        seconds: how long the part took.
    """

    name: str
    machine: dict[str, str]
    toy: bool
    seconds: float
    samples: list[Sample]


def describe_machine() -> dict[str, str]:
    """Where the samples come from."""
    busy = psutil.cpu_percent(LISTENING)
    found: dict[str, str] = fresh("machine.describe")
    return found | {"commit": _commit(), "busy": f"{busy:.0f}"}


def save_result(result: Result, folder: Path) -> None:
    """Writes NAME.json."""
    write_json(folder / f"{result.name}.json", asdict(result))


def load_result(name: str, folder: Path) -> Result | None:
    """Reads NAME.json; None where the part was not measured yet."""
    path = folder / f"{name}.json"
    if not path.exists():
        return None
    tree: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return Result(**tree | {"samples": [Sample(**sample) for sample in tree["samples"]]})


def header(machine: dict[str, str]) -> str:
    """A machine in two lines."""
    numbers = "AVX512-BF16 or AMX" if machine["bf16"] == "yes" else "without fast bf16"
    packages = ("python", "torch", "torchvision", "numpy", "onnxruntime", "dvc", "mlflow")
    versions = ", ".join(f"{name} {machine[name]}" for name in packages)
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {numbers}, {machine['memory']}, "
        f"{machine['platform']}\n{versions}; commit {machine['commit']}; "
        f"background CPU load {machine['busy']} %"
    )


def table(rows: Sequence[Row]) -> str:
    """Rows as a Markdown table, in columns that line up."""
    met = {True: "yes", False: "**no**", None: ""}
    cells = [("", "ours", "compared with", "result", "target", "met")]
    cells += [(r.what, r.ours, r.other, r.result, r.target, met[r.met]) for r in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |"
        for line in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _commit() -> str:
    """The commit that is measured, and whether anything but earlier results has changed since."""
    commit = git_or_none("-C", str(ROOT), "rev-parse", "--short", "HEAD")
    if commit is None:
        return "unknown"
    others = (".", ":!benchmarks/results", ":!docs")
    changed = git_or_none("-C", str(ROOT), "status", "--porcelain", "--", *others)
    return f"{commit.decode().strip()}{'-dirty' if changed else ''}"
