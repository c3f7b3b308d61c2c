"""The MLflow run of a pipeline run: found by its key, and backfilled with what it lacks.

A finished run is complete, and stays as it is. Interrupted and repeated track stages, and trainings
that were logged live, therefore all end in the same run.
"""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.data.schema import TensorDatasetSchema
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Run
from mlflow.types import Schema, TensorSpec

from reprovision.core.files import digest_of_file
from reprovision.core.params import Params
from reprovision.core.yaml_files import as_text, flatten
from reprovision.data.dataset import DatasetInfo, load_info
from reprovision.results import layout
from reprovision.results.fingerprint import code_digest
from reprovision.results.history import Epoch, read_history
from reprovision.results.run import used_params
from reprovision.tracking import descriptions
from reprovision.tracking.environment import (
    TrainingEnvironment,
    load_environment,
    load_export_check,
)
from reprovision.tracking.models import find_model, log_model, register_model
from reprovision.tracking.runs import TEST_PREFIX, artifact_folder
from reprovision.tracking.store import (
    CHECKPOINT_TAG,
    CODE_TAG,
    DESCRIPTION_TAG,
    KEY_TAG,
    TEST_SET_TAG,
    Store,
    open_store,
    translate_errors,
)

EXPORT_PREFIX = "export_"
"""Of metrics of the exported model; those over the test images have `TEST_PREFIX`."""

EPOCHS_PER_CALL = 200
"""Their five metrics each are as many as MLflow takes in one call."""


def log_run(params: Params, key: str) -> tuple[Run, str]:
    """Logs the current results to the run of this key and checkpoint.

    Returns:
        the run, and the version of the registered model.

    Raises:
        UserError: MLflow can't be used.
    """
    history = read_history(layout.HISTORY)
    test = json.loads(layout.TEST_METRICS.read_text(encoding="utf-8"))
    checkpoint = digest_of_file(layout.CHECKPOINT)
    trained = load_environment(checkpoint)
    began = trained.began if trained else None
    with open_store(params.track.experiment, key) as store:
        client = store.client
        run = _find_or_create(store, params, key, history, began, checkpoint)
        model_id = find_model(client, run)
        if run.info.status != "FINISHED" or model_id is None:
            with mlflow.start_run(run.info.run_id):
                model_id = log_model(client, run, model_id)
                _log_results(client, run, params, test, checkpoint, model_id)
                _log_training(client, run, trained, history)
            if trained:
                # its duration in MLflow is that of the training
                client.set_terminated(run.info.run_id, end_time=trained.ended)
        return run, register_model(client, run, model_id, params, test)


class LiveRun:
    """The run of a training in progress.

    Args:
        began: start of the training, in milliseconds since 1970.
        history: the epochs so far.
        times: end of each epoch by its number, where known, in milliseconds since 1970.

    Raises:
        UserError: MLflow can't be used; its methods raise it, too.
    """

    def __init__(
        self,
        params: Params,
        key: str,
        began: int,
        history: Sequence[Epoch],
        times: Mapping[int, int],
    ) -> None:
        self.times = times
        with open_store(params.track.experiment, key) as store:
            self.client = store.client
            self.run = _find_or_create(store, params, key, history, began)
            # `dvc repro --force` repeats a training whose run is complete
            self.is_complete = self.run.info.status == "FINISHED"
            if not self.is_complete:
                self.client.update_run(self.run.info.run_id, "RUNNING")
        self.log(history)

    def log(self, epochs: Sequence[Epoch]) -> None:
        """Logs new epochs."""
        with translate_errors():
            _log_epochs(self.client, self.run.info.run_id, epochs, self.times)

    def end(self, status: str) -> None:
        """Ends the run as FAILED or KILLED."""
        with translate_errors():
            if not self.is_complete:
                self.client.set_terminated(self.run.info.run_id, status)


def _find_or_create(
    store: Store,
    params: Params,
    key: str,
    history: Sequence[Epoch],
    began: int | None,
    checkpoint: str | None = None,
) -> Run:
    run = store.find(key, checkpoint)
    if run is None or not _has_history(store.client, run, history):
        tags = {**descriptions.source_tags(), CODE_TAG: code_digest(), KEY_TAG: key}
        name = descriptions.run_name(params)
        run = store.client.create_run(store.experiment_id, began, tags, name)
    if not run.data.params:
        used = {key: as_text(value) for key, value in used_params(flatten(params)).items()}
        mlflow.log_params(used, run_id=run.info.run_id)
    return run


def _has_history(client: MlflowClient, run: Run, history: Sequence[Epoch]) -> bool:
    """Whether the logged epochs agree with a history: another machine may have trained them."""
    losses = {epoch.epoch: epoch.train_loss for epoch in history}
    logged = client.get_metric_history(run.info.run_id, "train_loss")
    # a training that is repeated has not yet reached all of them
    return all(losses.get(metric.step, metric.value) == metric.value for metric in logged)


def _log_results(
    client: MlflowClient,
    run: Run,
    params: Params,
    test: dict[str, float],
    checkpoint: str,
    model_id: str,
) -> None:
    info = load_info(layout.PREPARED)
    mlflow.set_tag(CHECKPOINT_TAG, checkpoint)
    mlflow.set_tag(TEST_SET_TAG, info.splits["test"].digest)
    # a user may have written one during the training
    if DESCRIPTION_TAG not in run.data.tags:
        mlflow.set_tag(DESCRIPTION_TAG, descriptions.describe(params, test))
    dataset = Dataset(
        name=info.name,
        # as short as MLflow's own, for its tables
        digest=info.digest[:8],
        source_type="local",
        source=json.dumps({"uri": params.data.source}),
        schema=json.dumps(_schema(info)),
        profile=json.dumps({name: sum(split.counts) for name, split in info.splits.items()}),
    )
    context = InputTag("mlflow.data.context", "training and evaluation")
    client.log_inputs(run.info.run_id, [DatasetInput(dataset, [context])])
    # the number of images is a fact of the dataset; an interrupted track stage has logged some
    metrics = {f"{TEST_PREFIX}{name}": value for name, value in test.items() if name != "images"}
    new = {k: v for k, v in metrics.items() if k not in run.data.metrics}
    # with the model, whose page shows them, and before the epochs: MLflow's comparison page plots
    # the metric that was logged first
    mlflow.log_metrics(new, model_id=model_id, dataset=dataset)
    for name, value in _export_metrics(checkpoint).items():
        if name not in run.data.metrics:
            client.log_metric(run.info.run_id, name, value)
    plots = sorted(layout.PLOTS.glob("*.png"))
    # without what a killed process has left half-written, which is hidden
    results = sorted(layout.RESULTS.glob("[!.]*.*"))
    for path in [*results, *plots, layout.CARD]:
        mlflow.log_artifact(str(path), artifact_folder(path))


def _export_metrics(checkpoint: str) -> dict[str, float]:
    """How the exported model did on the machine that exported it, and what int8 costs, if made."""
    exported = load_export_check(checkpoint)
    report = json.loads(layout.EXPORT_REPORT.read_text(encoding="utf-8"))
    found = exported.model_dump(exclude_none=True) if exported else {}
    return {f"{EXPORT_PREFIX}{k}": v for k, v in {**found, **report.get("int8", {})}.items()}


def _schema(info: DatasetInfo) -> dict[str, Any]:
    """What MLflow shows of a dataset's columns: pixels and labels, with types and shapes."""
    pixels = TensorSpec(np.dtype(np.uint8), (-1, *info.shape), "pixels")
    label = TensorSpec(np.dtype(np.int64), (-1,), "label")
    return TensorDatasetSchema(Schema([pixels]), Schema([label])).to_dict()


def _log_training(
    client: MlflowClient,
    run: Run,
    trained: TrainingEnvironment | None,
    history: Sequence[Epoch],
) -> None:
    """Logs the epochs, and what is known of the machine that trained them."""
    _log_epochs(client, run.info.run_id, history, trained.epoch_times if trained else {})
    if trained:
        mlflow.set_tags({f"environment.{k}": v for k, v in trained.environment.items()})
        if "train_seconds" not in run.data.metrics:
            client.log_metric(run.info.run_id, "train_seconds", trained.train_seconds)


def _log_epochs(
    client: MlflowClient, run_id: str, epochs: Sequence[Epoch], times: Mapping[int, int]
) -> None:
    """Logs the epochs after the last one of the run, whole epochs at a time."""
    logged = client.get_metric_history(run_id, "train_loss")
    last = max((metric.step for metric in logged), default=0)
    new = [epoch for epoch in epochs if epoch.epoch > last]
    # the epochs before an interruption ended before all others
    earliest = min(times.values(), default=int(time.time() * 1000))
    for start in range(0, len(new), EPOCHS_PER_CALL):
        metrics = [
            Metric(name, value, times.get(epoch.epoch, earliest), epoch.epoch)
            for epoch in new[start : start + EPOCHS_PER_CALL]
            for name, value in vars(epoch).items()
            if name != "epoch" and value is not None
        ]
        client.log_batch(run_id, metrics=metrics)
