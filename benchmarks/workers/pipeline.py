"""The stages' own functions, called with everything imported already."""

import importlib
import os
import shlex
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
    source = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["data"]["source"]
    described = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
    seconds = {}
    for name, stage in described.items():
        # python -m stages.NAME ARGUMENT ...
        arguments = shlex.split(stage["cmd"].replace("${data.source}", source))[3:]
        main = importlib.import_module(f"stages.{name}").main
        began = time.perf_counter()
        main(*arguments)
        seconds[name] = time.perf_counter() - began
    return seconds
