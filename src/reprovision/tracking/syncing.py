"""The present results brought to MLflow: what the track stage does, when DVC sees no need for it.

DVC does not know what a server holds. When it is new and empty, or was away, the track stage has
to run once more; it writes what is missing and nothing twice.
"""

import json
import subprocess
import sys
from pathlib import Path

from reprovision.core.errors import UserError
from reprovision.core.params import load_yaml

TRACK = "track"


def sync() -> None:
    """Runs the track stage alone.

    Raises:
        UserError: the results are not those of the present params, data and code, so that their
            record would be wrong; or the record can't be written.
    """
    stages = [name for name in load_yaml("dvc.yaml")["stages"] if name != TRACK]
    status = _dvc("status", "--json", *stages)
    stale = json.loads(status.stdout) if status.returncode == 0 else {}
    if status.returncode:
        reason = status.stderr.strip().removeprefix("ERROR: ") or "no reason given"
        raise UserError(f"DVC can't tell whether the results are up to date: {reason}")
    if stale:
        raise UserError(
            f"the results of {', '.join(stale)} are not there, or not those of the present params, "
            "data and code: run `uv run dvc repro`, which also writes the record, or, for results "
            "from elsewhere, `uv run dvc checkout` or `uv run dvc pull`"
        )
    if _dvc("repro", "--quiet", "--single-item", "--force", TRACK, shown=True).returncode:
        raise UserError("the record is not written, for the reason above: sync again then")


def _dvc(*arguments: str, shown: bool = False) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, cwd=Path.cwd(), capture_output=not shown, text=True, check=False)
