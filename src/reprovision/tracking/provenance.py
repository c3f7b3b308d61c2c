"""Where a run comes from: the commit, the DVC experiment, a name for people."""

import os
import subprocess
from pathlib import Path

from reprovision.core.params import Params


def of_code() -> dict[str, str]:
    """The commit, and whether tracked files differ from it; empty outside Git."""
    commit = _git("rev-parse", "HEAD")
    if not commit:
        return {}
    dirty = bool(_git("status", "--porcelain", "--untracked-files=no"))
    return {"mlflow.source.git.commit": commit, "git.dirty": str(dirty).lower()}


def of_experiment() -> dict[str, str]:
    """The DVC experiment that this run is, if it is one."""
    name = os.environ.get("DVC_EXP_NAME")
    return {"dvc.experiment": name} if name else {}


def run_name(params: Params) -> str:
    """The DVC experiment's name; outside experiments source, model and commit."""
    source = Path(params.data.source).stem
    commit = _git("rev-parse", "--short", "HEAD") or "no commit"
    return os.environ.get("DVC_EXP_NAME") or f"{source} {params.model.name} {commit}"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()
