"""What MLflow shows of a run and its model version: name, tags, description."""

import getpass
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from reprovision.core.errors import UserError
from reprovision.core.files import workspace
from reprovision.core.git import git_or_none, git_text_or_empty
from reprovision.core.params import Params
from reprovision.core.wording import count
from reprovision.core.yaml_files import as_text, flatten, parse_section, parse_yaml
from reprovision.results.layout import LOCK, PARAMS, RESULTS
from reprovision.tracking.store import EXPERIMENT_TAG

NOT_CODE = tuple(f":!{path}" for path in (PARAMS, LOCK, RESULTS))
"""What every run changes; it is logged anyway."""


MOST_CHANGES = 3
"""Params in the name of a run; its description has all."""


def run_name(params: Params) -> str:
    """The DVC experiment, outside experiments source, model and commit; then what was changed.

    For example ``puffy-moss lr=0.01``.
    """
    commit = git_text_or_empty("rev-parse", "--short", "HEAD") or "no commit"
    name = os.environ.get("DVC_EXP_NAME") or f"{params.data.name} {params.model.name} {commit}"
    short = _short_keys(flatten(params))
    changes = [f"{short[c.name]}={as_text(c.value)}" for c in _param_changes(params) or []]
    more = [f"+{len(changes) - MOST_CHANGES}"] if len(changes) > MOST_CHANGES else []
    return " ".join([name, *changes[:MOST_CHANGES], *more])


def _short_keys(keys: Iterable[str]) -> dict[str, str]:
    """The last part of each dotted key; the whole key where several end alike."""
    last = {key: key.rpartition(".")[2] for key in keys}
    counts = Counter(last.values())
    return {key: part if counts[part] == 1 else key for key, part in last.items()}


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
    return {EXPERIMENT_TAG: name} if name else {}


def how_to_keep(source: str) -> str:
    """A line on how to commit what the run has changed; that nothing has changed otherwise.

    Args:
        source: of the images; DVC writes into a file beside a folder that has others than before.
    """
    kept = [LOCK, PARAMS, RESULTS]
    images = Path(f"{source}.dvc")
    if images.is_file() and git_text_or_empty("status", "--porcelain", "--", str(images)):
        kept.append(images)
    commit = f"git add {' '.join(map(str, kept))} && git commit"
    name = os.environ.get("DVC_EXP_NAME")
    if name and Path.cwd().resolve() != workspace():
        return f"keep it  uv run dvc exp apply {name}, then {commit}"
    changed = git_text_or_empty("status", "--porcelain", "--", *map(str, kept))
    has_commit = git_text_or_empty("rev-parse", "HEAD")
    same = "results  the same as committed, byte for byte"
    return same if has_commit and not changed else f"keep it  {commit}"


def version_tags(test: dict[str, float], test_set: str) -> dict[str, str]:
    """Metrics and origin of a model version, short enough for a table of versions.

    Args:
        test: content of results/test.json.
        test_set: digest of the test images.
    """
    commit = git_text_or_empty("rev-parse", "--short", "HEAD")
    noun = "image" if test["images"] == 1 else "images"
    return {
        "test_accuracy": f"{test['accuracy']:.4f}",
        "test_accuracy_interval": f"{test['accuracy_low']:.4f} to {test['accuracy_high']:.4f}",
        "test_loss": f"{test['loss']:.4f}",
        "test_set": f"{test['images']} {noun}, {test_set[:8]}",
        **({"git.commit": commit} if commit else {}),
        **experiment_tags(),
    }


def describe(params: Params, test: dict[str, float]) -> str:
    """Markdown: how good a run is, how its params differ from the commit, how to restore it."""
    images = count(int(test["images"]), "test image")
    measured = (
        f"{test['accuracy']:.2%} of {images} classified correctly "
        f"({params.evaluate.confidence:.0%} interval {test['accuracy_low']:.2%} to "
        f"{test['accuracy_high']:.2%}), loss {test['loss']:.4f}."
    )
    return "\n\n".join(filter(None, [measured, _describe_changes(params), _how_to_restore()]))


def _describe_changes(params: Params) -> str:
    changes = _param_changes(params)
    if changes is None:
        return ""
    shown = [f"`{c.name}` {as_text(c.value)} (committed: {as_text(c.committed)})" for c in changes]
    return f"Params: {', '.join(shown) or 'as committed'}."


class _Change(NamedTuple):
    name: str
    value: Any
    committed: Any


def _param_changes(params: Params) -> list[_Change] | None:
    """The params that differ from the committed ones; None if there are none to compare with."""
    committed = _committed_params()
    if committed is None:
        return None
    return [
        _Change(name, value, committed.get(name))
        for name, value in flatten(params).items()
        if committed.get(name) != value
    ]


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
