"""MLflow away: training is never lost or held up, one sentence says why, and all is made good."""

import os
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import MakeProject, StartServer, free_port, kill_group, start_server
from project import Project, tiny_params

from reprovision.data.dataset import load_info
from reprovision.tracking.live import PATIENCE, LiveRun
from reprovision.training.history import Epoch
from reprovision.training.loop import start

SLOW_TRAINING = {"train.epochs": 400, "train.batch_size": 5}
"""Longer than MLflow waits before it is told of a training."""


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
    return len(project.mlflow().search_model_versions("name = 'reprovision'"))


# ---- away when training ends


def test_a_server_that_refuses_is_told_in_one_sentence_and_made_good_later(
    reproduced: Project,
) -> None:
    known = contents(reproduced)
    reproduced.env["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{free_port()}"
    began = time.monotonic()
    said = reproduced.refused(*reproduced.stage("track"))
    assert time.monotonic() - began < 60
    assert "start the server" in said
    assert "nothing else is lost" in said

    # another store is there, and empty
    reproduced.env["MLFLOW_TRACKING_URI"] = f"sqlite:///{reproduced.root / 'back.db'}"
    reproduced.run(*reproduced.stage("track"))
    assert contents(reproduced) == known


def test_a_server_that_hangs_is_given_up(reproduced: Project, silent_server: str) -> None:
    reproduced.env |= {"MLFLOW_TRACKING_URI": silent_server, "MLFLOW_HTTP_REQUEST_TIMEOUT": "1"}
    began = time.monotonic()
    assert "start the server" in reproduced.refused(*reproduced.stage("track"))
    assert time.monotonic() - began < 60


def test_a_store_locked_by_another_process_is_told(reproduced: Project) -> None:
    with sqlite3.connect(reproduced.root / "mlflow.db", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        said = reproduced.refused(*reproduced.stage("track"))
        assert "end the process that holds it" in said
        other.execute("ROLLBACK")
    other.close()
    reproduced.run(*reproduced.stage("track"))
    assert len(reproduced.runs()) == versions(reproduced) == 1


def test_a_store_of_another_version_of_mlflow_is_told_with_the_command_that_mends_it(
    reproduced: Project,
) -> None:
    older = "1b5f0d9ad7c1"
    with sqlite3.connect(reproduced.root / "mlflow.db") as store:
        store.execute("UPDATE alembic_version SET version_num = ?", (older,))
    store.close()
    said = reproduced.refused(*reproduced.stage("track"))
    assert f"uv run mlflow db upgrade {reproduced.store}" in said
    assert older in said


# ---- sync


def test_sync_fills_a_new_store_once(reproduced: Project) -> None:
    known = contents(reproduced)
    reproduced.env["MLFLOW_TRACKING_URI"] = f"sqlite:///{reproduced.root / 'new.db'}"
    for _ in range(2):
        reproduced.run("reprovision", "sync")
        assert contents(reproduced) == known
        assert versions(reproduced) == 1


def test_sync_refuses_results_that_are_not_those_of_the_params(reproduced: Project) -> None:
    before = contents(reproduced)
    reproduced.set_params(**{"train.lr": 0.5})
    assert "the results of train" in reproduced.refused("reprovision", "sync")
    assert contents(reproduced) == before


def test_sync_refuses_where_nothing_has_run(project: Project) -> None:
    assert "dvc repro" in project.refused("reprovision", "sync")


# ---- away while training runs


@pytest.mark.parametrize("kind", ["refuses", "hangs"])
def test_live_logging_never_holds_training_up(
    kind: str,
    prepared: Path,
    tmp_path: Path,
    silent_server: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    address = silent_server if kind == "hangs" else f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    live, state = LiveRun(tiny_params(), "key", after=0), start(tiny_params(), load_info(prepared))
    for epoch in range(1, 4):
        state.history.append(Epoch(epoch, 1.0, 0.5, 1.0, 0.5, 0.1))
        began = time.monotonic()
        live.epoch_done(state)
        assert time.monotonic() - began < 0.5
    began = time.monotonic()
    live.close()
    assert time.monotonic() - began < PATIENCE + 1
    if kind == "refuses":
        assert "warning: MLflow at" in capfd.readouterr().err


@pytest.mark.slow
def test_a_server_that_hangs_holds_a_pipeline_up_for_less_than_a_minute(
    reproduced: Project, silent_server: str
) -> None:
    reproduced.env["MLFLOW_TRACKING_URI"] = silent_server
    began = time.monotonic()
    reproduced.refused(*reproduced.stage("track"))
    assert time.monotonic() - began < 60


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
def test_a_server_that_dies_during_training_loses_nothing(
    end: signal.Signals, make_project: MakeProject, tmp_path: Path
) -> None:
    project = make_project(**SLOW_TRAINING)
    environment, port = dict(project.env), free_port()
    server = start_server(tmp_path, port, environment)
    project.env["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{port}"
    running = project.start("dvc", "repro")
    while not live_epochs(project):
        assert running.poll() is None, "training ended before MLflow was told of it"
        time.sleep(0.2)
    os.killpg(server.pid, end)

    said, _ = running.communicate(timeout=300)
    assert running.returncode != 0, said
    assert said.count("error: MLflow at") == 1, said
    assert "Traceback" not in said
    # training and what comes after it went on without the server
    made = project.outputs()
    assert "models/exported/model.onnx" in made
    assert "results/track.json" not in made

    kill_group(server)
    again = start_server(tmp_path, port, environment)
    try:
        project.repro()
        (run,) = project.runs()
        for name in ("train_loss", "val_loss"):
            assert [step for step, _ in project.metric(run, name)] == [*range(1, 401)]
        assert run.info.status == "FINISHED"
        assert versions(project) == 1
    finally:
        kill_group(again)


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
    """How many epochs the store knows of the only run."""
    runs = project.runs()
    return len(project.metric(runs[0], "train_loss")) if runs else 0
