"""MLflow runs as `Run`s, like those of the workspace, commits and experiments."""

import json
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
from mlflow import MlflowClient, entities

from reprovision.core.errors import UserError, printable
from reprovision.results.layout import PLOTS
from reprovision.results.run import Run, TestSet
from reprovision.tracking.store import (
    CODE_TAG,
    EXPERIMENT_TAG,
    TEST_SET_TAG,
    open_store,
    translate_errors,
)

TEST_PREFIX = "test_"
"""Of the names of test metrics."""


def finished_runs(experiment: str) -> list[Run]:
    """All finished runs of an experiment, the newest first.

    Raises:
        UserError: MLflow can't be used.
    """
    with open_store(experiment) as store:
        found = mlflow.search_runs(
            [store.experiment_id],
            f"attributes.status = 'FINISHED' and tags.`{TEST_SET_TAG}` != ''",
            order_by=["start_time DESC"],
            output_format="list",
        )
        return [to_run(store.client, run) for run in found]


def to_run(client: MlflowClient, run: entities.Run) -> Run:
    """A finished run; its outputs are downloaded when they are read.

    Raises:
        UserError: it is not a run of the track stage.
    """
    inputs = run.inputs.dataset_inputs if run.inputs else []
    profile = inputs[0].dataset.profile if inputs else None
    if not profile or TEST_SET_TAG not in run.data.tags:
        raise UserError(
            f"MLflow run {run.info.run_name} names no test set: only runs that the track stage has "
            "logged can be compared"
        )
    return Run(
        # as the same experiment is called by DVC
        name=printable(run.data.tags.get(EXPERIMENT_TAG) or run.info.run_name),
        title=f"MLflow run {printable(run.info.run_name)}",
        params={key: _value(text) for key, text in run.data.params.items()},
        metrics={
            key.removeprefix(TEST_PREFIX): value
            for key, value in run.data.metrics.items()
            if key.startswith(TEST_PREFIX)
        },
        test_set=TestSet(
            name=inputs[0].dataset.name,
            digest=run.data.tags[TEST_SET_TAG],
            images=int(json.loads(profile)["test"]),
        ),
        code=run.data.tags.get(CODE_TAG, ""),
        read=partial(_read, client, run.info.run_id),
    )


def artifact_folder(path: Path) -> str | None:
    """The folder of an output among a run's artifacts: plots have their own."""
    return PLOTS.name if path.parent == PLOTS else None


def _read(client: MlflowClient, run_id: str, path: Path) -> bytes | None:
    artifact = str(Path(artifact_folder(path) or "", path.name))
    with translate_errors(), TemporaryDirectory() as folder:
        files = client.list_artifacts(run_id, artifact_folder(path))
        if artifact not in {file.path for file in files}:
            return None
        return Path(client.download_artifacts(run_id, artifact, folder)).read_bytes()


def _value(text: str) -> Any:
    """A param as it was before MLflow stored it as text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
