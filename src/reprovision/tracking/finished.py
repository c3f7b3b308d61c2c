"""Finished runs as MLflow remembers them, for the leaderboard; of a remote server, too."""

import json
from typing import Any

from mlflow.entities import Run

from reprovision.leaderboard.runs import FinishedRun, TestSet
from reprovision.tracking.store import CODE_TAG, TEST_SET_TAG, open_store

PREFIX = "test_"
PAGE = 1000


def finished_runs(experiment: str) -> list[FinishedRun]:
    """All whole records of an experiment, the newest first.

    Raises:
        UserError: MLflow can't be reached.
    """
    found: list[FinishedRun] = []
    with open_store(experiment) as store:
        token = None
        while True:
            page = store.client.search_runs(
                [store.experiment_id],
                f"attributes.status = 'FINISHED' and tags.`{TEST_SET_TAG}` != ''",
                max_results=PAGE,
                order_by=["start_time DESC"],
                page_token=token,
            )
            found += map(_read, page)
            token = page.token
            if not token:
                return found


def _read(run: Run) -> FinishedRun:
    tested = {
        key.removeprefix(PREFIX): value
        for key, value in run.data.metrics.items()
        if key.startswith(PREFIX)
    }
    assert run.inputs, "the track stage names the dataset before it finishes a run"
    dataset = run.inputs.dataset_inputs[0].dataset
    assert dataset.profile, "and tells how many images it has"
    images = int(json.loads(dataset.profile)["test"])
    return FinishedRun(
        name=run.info.run_name,
        params={key: _value(text) for key, text in run.data.params.items()},
        metrics=tested,
        test_set=TestSet(dataset.name, run.data.tags[TEST_SET_TAG], images),
        code=run.data.tags.get(CODE_TAG, ""),
    )


def _value(text: str) -> Any:
    """A param as it was before it became text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
