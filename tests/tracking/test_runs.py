"""MLflow runs as other tools read them."""

import io
import shutil
import time
from pathlib import Path

import pytest
from conftest import StartServer
from many_runs import copy_newest_run
from mlflow import MlflowClient
from mlflow.entities import Run, RunData, RunInfo
from project import Project
from rich.console import Console

from reprovision.comparison.ranking_table import show_leaderboard
from reprovision.core.errors import UserError
from reprovision.tracking import runs
from reprovision.tracking.runs import finished_runs, to_run


def test_a_run_that_the_track_stage_has_not_logged_is_refused() -> None:
    # e.g. that of a version which a user has registered by hand
    info = RunInfo("id", "0", "me", "FINISHED", 0, 0, "active", run_name="by hand")
    with pytest.raises(UserError, match="MLflow run by hand names no test set"):
        to_run(MlflowClient("sqlite://"), Run(info, RunData()))


@pytest.mark.slow
@pytest.mark.ci
def test_runs_are_the_same_from_a_database_and_from_a_server_in_several_pages(
    swept: Project,
    mlflow_server: StartServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    shutil.copyfile(swept.root / "mlflow.db", folder / "server.db")
    monkeypatch.chdir(swept.root)
    monkeypatch.setattr(runs, "RUNS_PER_PAGE", 2)
    experiment = swept.params()["track"]["experiment"]
    found = []
    for uri in (f"sqlite:///{swept.root / 'mlflow.db'}", mlflow_server(folder)):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        found.append(finished_runs(experiment))
    fields = [
        [(run.name, run.title, run.params, run.metrics, run.test_set, run.code) for run in each]
        for each in found
    ]
    assert len(fields[0]) == 3
    assert fields[0] == fields[1]


@pytest.mark.slow
def test_the_leaderboard_of_ten_thousand_runs_takes_seconds(
    swept: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(swept.root)
    experiment = swept.params()["track"]["experiment"]

    def processor_seconds() -> float:
        began = time.process_time()
        board = io.StringIO()
        show_leaderboard(finished_runs(experiment), "accuracy", Console(file=board, width=120), 50)
        assert f"{number + 3:,} runs" in board.getvalue()
        return time.process_time() - began

    seconds = []
    for number in (1_000, 10_000):
        store = swept.root / f"{number}.db"
        shutil.copyfile(swept.root / "mlflow.db", store)
        copy_newest_run(store, number)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}")
        seconds.append(processor_seconds())
    # on a processor three times as slow as an AMD EPYC, and in proportion to their number
    assert seconds[1] < 25
    assert seconds[1] < 15 * seconds[0] + 1
