"""What people read of a run and its model in MLflow: a few lines of Markdown, and tags."""

import os
from typing import Any

import yaml

from reprovision.core.errors import UserError
from reprovision.core.git import git_said
from reprovision.core.params import Params, as_text, flatten, parse_section


def describe(params: Params, test: dict[str, float]) -> str:
    """How good a run is, what is special about its params, and how to have it again.

    Args:
        test: what results/test.json says.
    """
    measured = (
        f"{test['accuracy']:.2%} of {test['images']:,} test images right "
        f"({params.evaluate.confidence:.0%} interval {test['accuracy_low']:.2%} to "
        f"{test['accuracy_high']:.2%}), loss {test['loss']:.4f}."
    )
    return "\n\n".join(filter(None, [measured, _differences(params), _restore()]))


def version_tags(test: dict[str, float], test_set: str) -> dict[str, str]:
    """The figures and the origin of a model version, short enough for a table of versions.

    Args:
        test: what results/test.json says.
        test_set: digest of the test images.
    """
    commit = git_said("rev-parse", "--short", "HEAD")
    return {
        "test_accuracy": f"{test['accuracy']:.4f}",
        "test_accuracy_interval": f"{test['accuracy_low']:.4f} to {test['accuracy_high']:.4f}",
        "test_loss": f"{test['loss']:.4f}",
        "test_set": f"{test['images']} images, {test_set[:8]}",
        **({"git.commit": commit} if commit else {}),
    }


def _differences(params: Params) -> str:
    """The params that differ from those committed; empty where there is nothing to compare with."""
    committed = _committed_params()
    if committed is None:
        return ""
    differing = [
        f"`{key}` {as_text(value)} (committed: {as_text(committed.get(key))})"
        for key, value in flatten(params).items()
        if committed.get(key) != value
    ]
    return f"Params: {', '.join(differing) or 'as committed'}."


def _committed_params() -> dict[str, Any] | None:
    text = git_said("show", "HEAD:./params.yaml")
    try:
        return flatten(parse_section(Params, yaml.safe_load(text), "the committed params.yaml"))
    except (UserError, yaml.YAMLError):
        return None


def _restore() -> str:
    name = os.environ.get("DVC_EXP_NAME")
    if name:
        return f"Restore it with `dvc exp apply {name}`."
    commit = git_said("rev-parse", "--short", "HEAD")
    return f"Made from commit `{commit}`." if commit else ""
