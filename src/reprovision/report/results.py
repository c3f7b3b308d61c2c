"""What a revision holds: params, dataset, predictions and, where it could be had, the history."""

from dataclasses import dataclass
from typing import Any

from reprovision.core.errors import UserError
from reprovision.core.files import md5_of
from reprovision.core.params import load_yaml, parse_section
from reprovision.data.summary import DatasetSummary
from reprovision.evaluation.metrics import Predictions, read_predictions
from reprovision.report.revisions import FILES, HISTORY, Revision
from reprovision.training.history import Epoch, read_history


@dataclass(frozen=True)
class Results:
    """The results of one revision.

    Attributes:
        params: by dotted key, in the order of params.yaml.
        history: None where DVC's cache does not hold it.
        doubts: sentences on why the results may not be those of the params.
    """

    revision: Revision
    params: dict[str, Any]
    dataset: DatasetSummary
    predictions: Predictions
    history: list[Epoch] | None
    doubts: list[str]

    @property
    def name(self) -> str:
        return self.revision.name


def read_results(revision: Revision) -> Results:
    """Reads the results of a revision.

    Raises:
        UserError: a file is missing or damaged.
    """
    folder = revision.folder
    for path in FILES:
        if not (folder / path).exists():
            raise UserError(
                f"{revision.title} has no {path}: run `dvc repro` there, and commit what it writes"
            )
    described = folder / "results/dataset.json"
    dataset = parse_section(DatasetSummary, load_yaml(described), str(described))
    params = _flatten("", load_yaml(folder / "params.yaml"))
    history = folder / HISTORY
    return Results(
        revision=revision,
        params=params,
        dataset=dataset,
        predictions=read_predictions(folder / "results/predictions.csv", dataset.classes),
        history=read_history(history) if history.exists() else None,
        doubts=_doubts(revision, params),
    )


def _doubts(revision: Revision, params: dict[str, Any]) -> list[str]:
    """Compares the files with what dvc.lock says of the last run."""
    stages = revision.lock.values()
    used = [file for stage in stages for file in stage.get("params", {}).values()]
    locked = {key: value for tree in used for key, value in _flatten("", tree).items()}
    changed = [key for key, value in locked.items() if key in params and params[key] != value]
    doubts = []
    if changed:
        doubts.append(
            f"The results of {revision.name} were made with another {', '.join(changed[:5])} than "
            "its params.yaml has: run `dvc repro` there."
        )
    outs = {out["path"]: out.get("md5") for stage in stages for out in stage.get("outs", [])}
    predictions = (revision.folder / "results/predictions.csv").read_bytes()
    made = outs.get("results/predictions.csv")
    if made != md5_of(predictions):
        doubts.append(
            f"results/predictions.csv of {revision.name} is not the file that its dvc.lock "
            "describes: commit both together."
        )
    return doubts


def _flatten(prefix: str, tree: Any) -> dict[str, Any]:
    """Dotted keys and plain values. Unlike `flatten`, it takes params of other versions too."""
    if not isinstance(tree, dict):
        return {prefix: _number(tree)}
    leaves = [_flatten(f"{prefix}.{key}" if prefix else str(key), tree[key]) for key in tree]
    return {key: value for leaf in leaves for key, value in leaf.items()}


def _number(value: Any) -> Any:
    """PyYAML takes 1e-3 for text, and DVC for a number."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value
