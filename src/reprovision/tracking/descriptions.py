"""What MLflow shows of a run and its model version: name, tags, description."""

import getpass
import os
from pathlib import Path
from typing import Any

from reprovision.core.errors import UserError
from reprovision.core.git import git_or_none, git_text_or_empty
from reprovision.core.params import Params
from reprovision.core.yaml_files import as_text, flatten, parse_section, parse_yaml
from reprovision.results.layout import LOCK, PARAMS, RESULTS

NOT_CODE = tuple(f":!{path}" for path in (PARAMS, LOCK, RESULTS))
"""What every run changes; it is logged anyway."""


def run_name(params: Params) -> str:
    """The DVC experiment's name; outside experiments source, model and commit."""
    source = Path(params.data.source).stem
    commit = git_text_or_empty("rev-parse", "--short", "HEAD") or "no commit"
    return os.environ.get("DVC_EXP_NAME") or f"{source} {params.model.name} {commit}"


def source_tags() -> dict[str, str]:
    """User, DVC experiment and commit, and whether the code differs from it."""
    tags = {
        "mlflow.user": _user(),
        "mlflow.source.name": "dvc.yaml",
        "mlflow.source.type": "LOCAL",
        **experiment_tags(),
    }
    commit = git_text_or_empty("rev-parse", "HEAD")
    if commit:
        changed = git_text_or_empty(
            "status", "--porcelain", "--untracked-files=no", "--", ".", *NOT_CODE
        )
        tags |= {"mlflow.source.git.commit": commit, "git.dirty": str(bool(changed)).lower()}
    return tags


def _user() -> str:
    try:
        return getpass.getuser()
    # containers may run as a user without a name
    except (KeyError, OSError):
        return str(os.getuid())


def experiment_tags() -> dict[str, str]:
    """The DVC experiment that is running, if any."""
    name = os.environ.get("DVC_EXP_NAME")
    return {"dvc.experiment": name} if name else {}


def version_tags(test: dict[str, float], test_set: str) -> dict[str, str]:
    """Metrics and origin of a model version, short enough for a table of versions.

    Args:
        test: content of results/test.json.
        test_set: digest of the test images.
    """
    commit = git_text_or_empty("rev-parse", "--short", "HEAD")
    return {
        "test_accuracy": f"{test['accuracy']:.4f}",
        "test_accuracy_interval": f"{test['accuracy_low']:.4f} to {test['accuracy_high']:.4f}",
        "test_loss": f"{test['loss']:.4f}",
        "test_set": f"{test['images']} images, {test_set[:8]}",
        **({"git.commit": commit} if commit else {}),
        **experiment_tags(),
    }


def describe(params: Params, test: dict[str, float]) -> str:
    """Markdown: how good a run is, how its params differ from the commit, how to restore it."""
    measured = (
        f"{test['accuracy']:.2%} of {test['images']:,} test images classified correctly "
        f"({params.evaluate.confidence:.0%} interval {test['accuracy_low']:.2%} to "
        f"{test['accuracy_high']:.2%}), loss {test['loss']:.4f}."
    )
    return "\n\n".join(filter(None, [measured, _param_changes(params), _how_to_restore()]))


def _param_changes(params: Params) -> str:
    """The params that differ from the committed ones; empty if there are none to compare with."""
    committed = _committed_params()
    if committed is None:
        return ""
    changes = [
        f"`{key}` {as_text(value)} (committed: {as_text(committed.get(key))})"
        for key, value in flatten(params).items()
        if committed.get(key) != value
    ]
    return f"Params: {', '.join(changes) or 'as committed'}."


def _committed_params() -> dict[str, Any] | None:
    where = f"the committed {PARAMS}"
    committed = git_or_none("show", f"HEAD:./{PARAMS}")
    if committed is None:
        return None
    try:
        return flatten(parse_section(Params, parse_yaml(committed, where), where))
    # params of another version
    except UserError:
        return None


def _how_to_restore() -> str:
    name = os.environ.get("DVC_EXP_NAME")
    if name:
        return f"Restore it with `dvc exp apply {name}`."
    commit = git_text_or_empty("rev-parse", "--short", "HEAD")
    return f"Run at commit `{commit}`." if commit else ""
