"""MLflow runs as `Run`s, like those of the workspace, commits and experiments."""

import json
from collections.abc import Iterator
from functools import cache, lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mlflow import MlflowClient, entities

from reprovision.core.errors import UserError, printable
from reprovision.results.layout import PLOTS
from reprovision.results.run import Run, TestSet
from reprovision.tracking.address import is_database, tracking_uri
from reprovision.tracking.database import LoggedRun, read_finished_runs
from reprovision.tracking.store import (
    CODE_TAG,
    EXPERIMENT_TAG,
    TEST_SET_TAG,
    TRY_AGAIN,
    Store,
    open_store,
    translate_errors,
)

TEST_PREFIX = "test_"
"""Of the names of test metrics."""


RUNS_PER_PAGE = 500
"""Of an answer of the server, which must come before `MLFLOW_HTTP_REQUEST_TIMEOUT`."""


def finished_runs(experiment: str) -> list[Run]:
    """All finished runs of an experiment, the newest first.

    Raises:
        UserError: MLflow can't be used.
    """
    with open_store(experiment, then=TRY_AGAIN) as store:
        uri = tracking_uri()
        if is_database(uri):
            tags = (EXPERIMENT_TAG, CODE_TAG, TEST_SET_TAG)
            found = read_finished_runs(uri, store.experiment_id, tags, TEST_PREFIX)
        else:
            # while one page is read, a run may finish, and move others to the next page
            found = list({run.run_id: run for run in _search(store)}.values())
        return [_to_run(store.client, run) for run in found if run.tags.get(TEST_SET_TAG)]


def to_run(client: MlflowClient, run: entities.Run) -> Run:
    """A finished run; its outputs are downloaded when they are read.

    Raises:
        UserError: it is not a run of the track stage.
    """
    return _to_run(client, _logged(run))


def _search(store: Store) -> Iterator[LoggedRun]:
    token = None
    while True:
        page = store.client.search_runs(
            [store.experiment_id],
            f"attributes.status = 'FINISHED' and tags.`{TEST_SET_TAG}` != ''",
            order_by=["start_time DESC"],
            max_results=RUNS_PER_PAGE,
            page_token=token,
        )
        yield from map(_logged, page)
        token = page.token
        if not token:
            return


def _logged(run: entities.Run) -> LoggedRun:
    inputs = run.inputs.dataset_inputs if run.inputs else []
    dataset = (inputs[0].dataset.name, inputs[0].dataset.profile) if inputs else None
    data = run.data
    return LoggedRun(
        run.info.run_id, run.info.run_name, data.params, data.metrics, data.tags, dataset
    )


def _to_run(client: MlflowClient, run: LoggedRun) -> Run:
    name, profile = run.dataset or ("", "")
    if not profile or TEST_SET_TAG not in run.tags:
        raise UserError(
            f"MLflow run {run.name} names no test set: only runs that the track stage has logged "
            "can be compared"
        )
    return Run(
        # as the same experiment is called by DVC
        name=printable(run.tags.get(EXPERIMENT_TAG) or run.name),
        title=f"MLflow run {printable(run.name)}",
        params={key: _value(text) for key, text in run.params.items()},
        metrics={
            key.removeprefix(TEST_PREFIX): value
            for key, value in run.metrics.items()
            if key.startswith(TEST_PREFIX)
        },
        test_set=TestSet(name, run.tags[TEST_SET_TAG], _test_images(profile)),
        code=run.tags.get(CODE_TAG, ""),
        read=partial(_read, client, run.run_id),
    )


def artifact_folder(path: Path) -> str | None:
    """The folder of an output among a run's artifacts: plots have their own."""
    return PLOTS.name if path.parent == PLOTS else None


def _read(client: MlflowClient, run_id: str, path: Path) -> bytes | None:
    artifact = str(Path(artifact_folder(path) or "", path.name))
    with translate_errors(TRY_AGAIN), TemporaryDirectory() as folder:
        files = client.list_artifacts(run_id, artifact_folder(path))
        if artifact not in {file.path for file in files}:
            return None
        return Path(client.download_artifacts(run_id, artifact, folder)).read_bytes()


@cache
def _test_images(profile: str) -> int:
    return int(json.loads(profile)["test"])


# thousands of runs share most of their values
@lru_cache(10_000)
def _value(text: str) -> Any:
    """A param as it was before MLflow stored it as text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
