"""MLflow away: no result is lost, one sentence says why, and the run is completed later."""

import os
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import MakeProject, StartServer
from project import Project
from servers import free_port, mlflow_on_sqlite

SLOW_TRAINING = {"train.epochs": 400, "train.batch_size": 5}
"""Long enough to be logged live."""


@pytest.fixture
def silent_server() -> Iterator[str]:
    """A server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def contents(project: Project) -> list[tuple[dict[str, str], dict[str, list[float]]]]:
    """The params and metrics of all runs in the store."""
    return [
        (
            run.data.params,
            {name: [v for _, v in project.metric(run, name)] for name in run.data.metrics},
        )
        for run in project.runs()
    ]


def versions(project: Project) -> int:
    return len(project.mlflow().search_model_versions("name = 'digits'"))


# ---- away when training ends


def test_a_server_that_refuses_is_one_sentence_and_the_run_is_logged_later(
    reproduced: Project,
) -> None:
    known = contents(reproduced)
    reproduced.env["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{free_port()}"
    message = reproduced.refused(*reproduced.stage("track"))
    assert "start the server" in message
    assert "all results are kept" in message

    # another, empty store
    reproduced.env["MLFLOW_TRACKING_URI"] = f"sqlite:///{reproduced.root / 'back.db'}"
    reproduced.run(*reproduced.stage("track"))
    assert contents(reproduced) == known


def test_a_server_that_hangs_is_given_up(reproduced: Project, silent_server: str) -> None:
    reproduced.env |= {"MLFLOW_TRACKING_URI": silent_server, "MLFLOW_HTTP_REQUEST_TIMEOUT": "1"}
    assert "start the server" in reproduced.refused(*reproduced.stage("track"))


@pytest.mark.slow
def test_a_store_locked_by_another_process_is_one_sentence(reproduced: Project) -> None:
    with sqlite3.connect(reproduced.root / "mlflow.db", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        message = reproduced.refused(*reproduced.stage("track"))
        assert "end the process that has locked it" in message
        other.execute("ROLLBACK")
    other.close()
    reproduced.run(*reproduced.stage("track"))
    assert len(reproduced.runs()) == versions(reproduced) == 1


def test_for_a_store_of_another_version_of_mlflow_the_error_names_the_command_that_upgrades_it(
    reproduced: Project,
) -> None:
    older = "1b5f0d9ad7c1"
    with sqlite3.connect(reproduced.root / "mlflow.db") as store:
        store.execute("UPDATE alembic_version SET version_num = ?", (older,))
    store.close()
    message = reproduced.refused(*reproduced.stage("track"))
    assert f"uv run mlflow db upgrade {reproduced.store}" in message
    assert older in message


# ---- sync


@pytest.mark.slow
@pytest.mark.ci
def test_sync_fills_a_new_store_once(reproduced: Project) -> None:
    known = contents(reproduced)
    reproduced.env["MLFLOW_TRACKING_URI"] = f"sqlite:///{reproduced.root / 'new.db'}"
    for _ in range(2):
        reproduced.run("reprovision", "sync")
        assert contents(reproduced) == known
        assert versions(reproduced) == 1


@pytest.mark.slow
def test_what_a_killed_process_left_half_written_is_not_logged(reproduced: Project) -> None:
    (reproduced.root / "results" / ".history.csv.0a1b2c3d.partial").write_text("epoch")
    reproduced.env["MLFLOW_TRACKING_URI"] = f"sqlite:///{reproduced.root / 'new.db'}"
    reproduced.run("reprovision", "sync")
    (run,) = reproduced.runs()
    files = {file.path for file in reproduced.mlflow().list_artifacts(run.info.run_id)}
    assert "history.csv" in files
    assert not [name for name in files if "partial" in name]


def test_sync_refuses_results_of_other_params(reproduced: Project) -> None:
    before = contents(reproduced)
    reproduced.set_params(**{"train.lr": 0.5})
    assert "the results of train" in reproduced.refused("reprovision", "sync")
    assert contents(reproduced) == before


def test_sync_refuses_if_nothing_has_run(project: Project) -> None:
    assert "dvc repro" in project.refused("reprovision", "sync")


# ---- away while training runs


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
def test_a_server_that_dies_during_training_loses_nothing(
    end: signal.Signals, make_project: MakeProject, tmp_path: Path
) -> None:
    project = make_project(**SLOW_TRAINING)
    store = tmp_path, free_port(), dict(project.env)
    with mlflow_on_sqlite(*store) as process:
        project.env["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{store[1]}"
        running = project.start("dvc", "repro")
        while not live_epochs(project):
            assert running.poll() is None, "training ended before it was logged"
            time.sleep(0.2)
        os.killpg(process.pid, end)

        shown, _ = running.communicate(timeout=300)
        assert running.returncode != 0, shown
        assert shown.count("warning: MLflow") == 1, shown
        assert shown.count("error: MLflow at") == 1, shown
        assert "Traceback" not in shown
        # training and the next stages continued without the server
        outputs = project.outputs()
        assert "models/exported/model.onnx" in outputs
        assert "results/track.json" not in outputs

    with mlflow_on_sqlite(*store):
        project.repro()
        (run,) = project.runs()
        for name in ("train_loss", "val_loss"):
            assert [step for step, _ in project.metric(run, name)] == [*range(1, 401)]
        assert run.info.status == "FINISHED"
        assert versions(project) == 1


@pytest.mark.slow
def test_sync_fills_a_new_server_and_promote_and_leaderboard_work_there(
    reproduced: Project, mlflow_server: StartServer
) -> None:
    known = contents(reproduced)
    reproduced.env["MLFLOW_TRACKING_URI"] = mlflow_server()
    for _ in range(2):
        reproduced.run("reprovision", "sync")
        assert contents(reproduced) == known
    assert "is version 1" in reproduced.run("reprovision", "promote").stdout
    assert ", 1 run\n" in reproduced.run("reprovision", "leaderboard", "--mlflow").stdout


def live_epochs(project: Project) -> int:
    """Number of epochs that the only run has in MLflow."""
    runs = project.runs()
    return len(project.metric(runs[0], "train_loss")) if runs else 0
