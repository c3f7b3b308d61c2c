"""The stages' own functions, called with everything imported already."""

import importlib
import os
import time
from pathlib import Path

import yaml


def stages(folders: list[str]) -> dict[str, float]:
    """Runs all stages in the first copy of the repository to warm up, then in the second, timed.

    Must be started in the first one. Returns the seconds of each stage.
    """
    warm, timed = map(Path, folders)
    _run_all(warm)
    return _run_all(timed)


def _run_all(folder: Path) -> dict[str, float]:
    os.chdir(folder)
    described = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
    seconds = {}
    for name in described:
        main = importlib.import_module(f"stages.{name}").main
        began = time.perf_counter()
        main()
        seconds[name] = time.perf_counter() - began
    return seconds
