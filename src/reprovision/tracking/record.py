"""One MLflow run for each pipeline run: found by its key, completed as far as it lacks anything.

Writing the same record twice changes nothing, so that an interrupted or repeated track stage, and
a training that was followed live, all end with the same run.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag

from reprovision.core.files import digest_of_file
from reprovision.core.params import Params, as_text, flatten
from reprovision.data.dataset import DatasetInfo, load_info
from reprovision.tracking import provenance
from reprovision.tracking.descriptions import describe, version_tags
from reprovision.tracking.models import log_model, register_model
from reprovision.tracking.notes import read_note
from reprovision.tracking.page import runs_page
from reprovision.tracking.store import (
    CHECKPOINT_TAG,
    CODE_TAG,
    DESCRIPTION_TAG,
    TEST_SET_TAG,
    Store,
    open_store,
)
from reprovision.training.history import Epoch, read_history
from reprovision.training.identity import code_digest

EPOCHS_AT_ONCE = 200
"""Their five metrics each are what MLflow takes in one call."""


@dataclass(frozen=True)
class Results:
    """Paths of what the pipeline made."""

    prepared: Path
    checkpoint: Path
    exported: Path
    results: Path

    @property
    def history(self) -> Path:
        return self.results / "history.csv"

    def artifacts(self) -> Iterator[tuple[Path, str | None]]:
        """Files for people to look at, each with its folder in MLflow."""
        for path in sorted(self.results.glob("*.*")):
            yield path, None
        for path in sorted((self.results / "plots").glob("*.png")):
            yield path, "plots"
        yield self.exported / "README.md", None


@dataclass(frozen=True)
class Record:
    """Where a pipeline run stands in MLflow.

    Attributes:
        run_id, run_name: of the run.
        version: of the registered model.
        page: address of the table of runs, below that of MLflow's server.
    """

    run_id: str
    run_name: str
    version: str
    page: str


def write_epochs(params: Params, key: str, history: list[Epoch]) -> None:
    """Finds or creates the run of this key, and writes the epochs that it lacks.

    Raises:
        UserError: MLflow can't be reached.
    """
    with open_store(params.track.experiment) as store:
        _log_epochs(store.client, _find_or_create(store, params, key, history), history)


def write_record(params: Params, key: str, results: Results) -> Record:
    """Finds or creates the run of this key and checkpoint, and writes all that it lacks.

    Raises:
        UserError: MLflow can't be reached.
    """
    checkpoint = digest_of_file(results.checkpoint)
    info = load_info(results.prepared)
    test = json.loads((results.results / "test.json").read_text(encoding="utf-8"))
    with open_store(params.track.experiment) as store:
        client = store.client
        history = read_history(results.history)
        run = _find_or_create(store, params, key, history, checkpoint)
        test_set = info.splits["test"].digest
        origin = {CHECKPOINT_TAG: checkpoint, TEST_SET_TAG: test_set, **provenance.of_experiment()}
        _log_tags(client, run, origin)
        dataset = _log_dataset(client, run, params, info)
        model_id = log_model(client, run, results.exported, results.prepared)
        # before the epochs: the comparison page plots the metric that was written first
        _log_summary(client, run, key, test, dataset, model_id)
        _log_epochs(client, run, history)
        description = describe(params, test)
        if DESCRIPTION_TAG not in run.data.tags:
            _log_tags(client, run, {DESCRIPTION_TAG: description})
        tags = {**version_tags(test, test_set), **provenance.of_experiment()}
        name = params.track.model_name
        version = register_model(client, run, model_id, name, description, tags)
        for path, folder in results.artifacts():
            client.log_artifact(run.info.run_id, str(path), folder)
        if run.info.status != "FINISHED":
            client.set_terminated(run.info.run_id)
        page = runs_page(store.experiment_id)
        return Record(run.info.run_id, run.info.run_name, version, page)


def _find_or_create(
    store: Store, params: Params, key: str, history: list[Epoch], checkpoint: str | None = None
) -> Run:
    run = store.find(key, checkpoint)
    if run is None or not _is_of(store.client, run, history):
        tags = {**provenance.of_code(), **provenance.of_experiment(), **provenance.of_user()}
        tags[CODE_TAG] = code_digest()
        run = store.create(key, provenance.run_name(params), tags)
    if not run.data.params:
        _log_params(store.client, run, params)
    return run


def _is_of(client: MlflowClient, run: Run, history: list[Epoch]) -> bool:
    """Whether a run's epochs are those of a history: another machine may have begun it anew."""
    losses = {epoch.epoch: epoch.train_loss for epoch in history}
    written = client.get_metric_history(run.info.run_id, "train_loss")
    return all(losses.get(metric.step) == metric.value for metric in written)


def _log_params(client: MlflowClient, run: Run, params: Params) -> None:
    shown = [Param(name, as_text(value)) for name, value in flatten(params).items()]
    # an mlp has no convolutions: their params would only be noise
    if params.model.name == "mlp":
        shown = [param for param in shown if not param.key.startswith("model.conv.")]
    client.log_batch(run.info.run_id, params=shown)


def _log_tags(client: MlflowClient, run: Run, tags: dict[str, str]) -> None:
    client.log_batch(run.info.run_id, tags=[RunTag(name, value) for name, value in tags.items()])


def _log_dataset(client: MlflowClient, run: Run, params: Params, info: DatasetInfo) -> Dataset:
    dataset = Dataset(
        name=info.name,
        # as short as MLflow's own, so that tables can show it
        digest=info.digest[:8],
        source_type="local",
        source=json.dumps({"uri": params.data.source}),
        profile=json.dumps({name: sum(split.counts) for name, split in info.splits.items()}),
    )
    context = InputTag("mlflow.data.context", "training and evaluation")
    client.log_inputs(run.info.run_id, [DatasetInput(dataset, [context])])
    return dataset


def _log_epochs(client: MlflowClient, run: Run, history: list[Epoch]) -> None:
    """Writes the epochs after the last one that the run has."""
    written = client.get_metric_history(run.info.run_id, "train_loss")
    last = max((metric.step for metric in written), default=0)
    now = int(time.time() * 1000)
    # whole epochs at a time: where this is cut off, the next call goes on after the last one
    for start in range(last, len(history), EPOCHS_AT_ONCE):
        metrics = [
            Metric(name, value, now, epoch.epoch)
            for epoch in history[start : start + EPOCHS_AT_ONCE]
            for name, value in vars(epoch).items()
            if name != "epoch" and value is not None
        ]
        client.log_batch(run.info.run_id, metrics=metrics)


def _log_summary(
    client: MlflowClient,
    run: Run,
    key: str,
    test: dict[str, float],
    dataset: Dataset,
    model_id: str,
) -> None:
    """Writes the figures that a run has once: test metrics and training time."""
    now = int(time.time() * 1000)
    known = client.get_run(run.info.run_id).data.metrics
    # the model's page shows the metrics that name it
    linked = {
        "model_id": model_id,
        "dataset_name": dataset.name,
        "dataset_digest": dataset.digest,
    }
    metrics = [
        Metric(f"test_{name}", float(value), now, 0, **linked)
        for name, value in test.items()
        # the dataset tells
        if name != "images"
    ]
    seconds, environment = read_note(key)
    if seconds is not None:
        metrics.append(Metric("train_seconds", seconds, now, 0))
        _log_tags(client, run, {f"environment.{k}": v for k, v in environment.items()})
    changed = [metric for metric in metrics if known.get(metric.key) != metric.value]
    client.log_batch(run.info.run_id, metrics=changed)
