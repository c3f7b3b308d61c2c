"""Where a run comes from: the commit, the DVC experiment, a name for people."""

import os
from pathlib import Path

from mlflow.tracking.context.default_context import DefaultRunContext
from mlflow.utils.mlflow_tags import MLFLOW_SOURCE_NAME, MLFLOW_SOURCE_TYPE, MLFLOW_USER

from reprovision.core.git import git_said
from reprovision.core.params import Params

MADE_BY_A_RUN = (":!params.yaml", ":!dvc.lock", ":!results")
"""What differs from the commit in every experiment: its params and results are recorded anyway."""


def of_code() -> dict[str, str]:
    """The commit, and whether tracked files differ from it beyond params and results; empty outside
    Git.
    """
    if not of_commit():
        return {}
    changed = git_said("status", "--porcelain", "--untracked-files=no", "--", ".", *MADE_BY_A_RUN)
    return {**of_commit(), "git.dirty": str(bool(changed)).lower()}


def of_commit() -> dict[str, str]:
    """The commit alone; empty outside Git."""
    commit = git_said("rev-parse", "HEAD")
    return {"mlflow.source.git.commit": commit} if commit else {}


def of_experiment() -> dict[str, str]:
    """The DVC experiment that this run is, if it is one."""
    name = os.environ.get("DVC_EXP_NAME")
    return {"dvc.experiment": name} if name else {}


def of_user() -> dict[str, str]:
    """Who ran it, as MLflow tells it, and that it was the pipeline."""
    user = DefaultRunContext().tags()[MLFLOW_USER]
    return {MLFLOW_USER: user, MLFLOW_SOURCE_NAME: "dvc.yaml", MLFLOW_SOURCE_TYPE: "LOCAL"}


def run_name(params: Params) -> str:
    """The DVC experiment's name; outside experiments source, model and commit."""
    source = Path(params.data.source).stem
    commit = git_said("rev-parse", "--short", "HEAD") or "no commit"
    return os.environ.get("DVC_EXP_NAME") or f"{source} {params.model.name} {commit}"
