"""Logs the current results to MLflow where DVC sees no need for it.

DVC does not know what a server holds. If it is new, or was unreachable, the track stage has to run
once more; it logs only what is missing.
"""

import json
import subprocess
import sys
from pathlib import Path

from reprovision.core.errors import UserError
from reprovision.core.yaml_files import load_yaml
from reprovision.results.cache import has_remote
from reprovision.results.intact import require_intact
from reprovision.results.layout import PIPELINE

TRACK = "track"


def sync() -> None:
    """Runs only the track stage.

    Raises:
        UserError: the results are not those of the current params, data and code, or MLflow can't
            be used.
    """
    require_intact()
    stages = [name for name in load_yaml(PIPELINE)["stages"] if name != TRACK]
    status = _dvc("status", "--json", *stages)
    if status.returncode:
        reason = status.stderr.strip().removeprefix("ERROR: ") or "no reason given"
        raise UserError(f"DVC can't check whether the results are up to date: {reason}")
    stale = json.loads(status.stdout)
    if stale:
        raise UserError(
            f"the results of {', '.join(stale)} are missing, or not those of the current params, "
            "data and code: run `uv run dvc repro`, which also logs the run, or, for results "
            f"from elsewhere, `uv run dvc {'pull' if has_remote(Path.cwd()) else 'checkout'}`"
        )
    if _dvc("repro", "--quiet", "--single-item", "--force", TRACK, show=True).returncode:
        raise UserError("the run is not in MLflow: fix the error above, then sync again")


def _dvc(*arguments: str, show: bool = False) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, capture_output=not show, text=True, check=False)
