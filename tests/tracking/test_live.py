"""Epochs in MLflow while training runs: each once, and nothing that MLflow does blocks training."""

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from project import ROOT, tiny_params
from servers import free_port

from reprovision.core.errors import UserError
from reprovision.data.dataset import load_info, load_split
from reprovision.results.history import Epoch
from reprovision.tracking import live, log_run
from reprovision.tracking.live import LiveLogging
from reprovision.tracking.store import open_store, tracking_uri
from reprovision.training import loop
from reprovision.training.state import TrainingState

EXPERIMENT = "reprovision"

BEGAN = 1_700_000_000_000
"""Start of a training, in milliseconds since 1970."""


@pytest.fixture(scope="module")
def new_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new SQLite store to be copied: it takes MLflow seconds to create one."""
    root = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(root))
        patch.chdir(root)
        with open_store(EXPERIMENT):
            return root / "mlflow.db"


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, new_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A main workspace with a store; logging starts at once, and has all the time it needs."""
    shutil.copy(new_store, tmp_path)
    # as DVC runs an experiment: in a copy of the repository
    copy = tmp_path / ".dvc" / "tmp" / "exps" / "copy"
    copy.mkdir(parents=True)
    for name in ("dvc.yaml", "params.yaml", "src", "stages"):
        (copy / name).symlink_to(ROOT / name)
    monkeypatch.chdir(copy)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(live, "START_AFTER", 0.0)
    monkeypatch.setattr(live, "CLOSE_TIMEOUT", 250.0)
    return tmp_path


def history(epochs: int) -> list[Epoch]:
    return [Epoch(number, 1 / number, 0.5, 0.4, 0.3, 0.1) for number in range(1, epochs + 1)]


def state_with(epochs: list[Epoch]) -> TrainingState:
    """What a callback reads of a state."""
    return cast(TrainingState, SimpleNamespace(history=epochs))


def train(live_logging: LiveLogging, epochs: int, start: int = 1) -> None:
    """Calls the callback as the training loop does."""
    state = state_with(history(start - 1))
    for number in range(start, epochs + 1):
        state.history.append(history(number)[-1])
        live_logging.on_epoch_end(state)


def runs() -> list[Run]:
    client = MlflowClient(tracking_uri())
    experiment = client.get_experiment_by_name(EXPERIMENT)
    return list(client.search_runs([experiment.experiment_id]))


def only_run() -> Run:
    (run,) = runs()
    return run


def points(name: str) -> list[tuple[int, int]]:
    """Steps and times of a metric of the only run."""
    found = MlflowClient(tracking_uri()).get_metric_history(only_run().info.run_id, name)
    return [(metric.step, metric.timestamp) for metric in found]


# ---- what is logged


def test_a_training_is_logged_epoch_by_epoch_with_the_time_of_each(prepared: Path) -> None:
    params = tiny_params(**{"train.epochs": 3})
    state = loop.start(params, load_info(prepared))
    splits = load_split(prepared, "train"), load_split(prepared, "val")
    with LiveLogging(params, "key") as logging:
        loop.train(state, *splits, params, [logging])
    assert list(logging.epoch_times) == [1, 2, 3]
    assert points("val_accuracy") == list(logging.epoch_times.items())
    run = only_run()
    assert run.info.status == "RUNNING", "the track stage finishes it"
    assert run.data.params["train.lr"] == "0.02"


def test_an_epoch_is_one_call_of_log_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("log_batch", "log_metric", "log_param", "set_tag"):
        original = getattr(MlflowClient, name)

        def spy(self: Any, *args: Any, _name: str = name, _call: Any = original, **kw: Any) -> Any:
            calls.append(_name)
            return _call(self, *args, **kw)

        monkeypatch.setattr(MlflowClient, name, spy)
    run = log_run.LiveRun(tiny_params(), "key", BEGAN, history(1), {})
    calls.clear()
    run.log(history(2)[1:])
    assert calls == ["log_batch"]


def test_a_short_training_is_left_to_the_track_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "START_AFTER", 1e9)
    with LiveLogging(tiny_params(), "key") as logging:
        train(logging, epochs=2)
    assert list(logging.epoch_times) == [1, 2]
    assert runs() == []


def test_a_resumed_training_continues_its_run(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), LiveLogging(tiny_params(), "key") as logging:
        train(logging, epochs=2)
        raise KeyboardInterrupt
    assert only_run().info.status == "KILLED"

    with LiveLogging(tiny_params(), "key") as logging:
        train(logging, epochs=4, start=3)
    assert [step for step, _ in points("train_loss")] == [1, 2, 3, 4]
    assert only_run().info.status == "RUNNING"
    assert "warning" not in capfd.readouterr().err


def test_another_training_of_the_same_key_is_another_run() -> None:
    # e.g. of another processor, which trains to slightly different parameters
    log_run.LiveRun(tiny_params(), "key", BEGAN, [Epoch(1, 9.0, 0.5, 0.4, 0.3, 0.1)], {})
    log_run.LiveRun(tiny_params(), "key", BEGAN, history(1), {})
    assert len(runs()) == 2


def test_hundreds_of_epochs_are_backfilled() -> None:
    log_run.LiveRun(tiny_params(), "key", BEGAN, history(7), {})
    log_run.LiveRun(tiny_params(), "key", BEGAN, history(450), {})
    for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr"):
        assert [step for step, _ in points(name)] == list(range(1, 451))


# ---- trainings that fail


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UserError("training diverged"), "FAILED"),
        (RuntimeError("a bug"), "FAILED"),
        (KeyboardInterrupt(), "KILLED"),
        (SystemExit(1), "KILLED"),
    ],
)
def test_a_training_that_fails_ends_its_run(error: BaseException, status: str) -> None:
    with pytest.raises(type(error)), LiveLogging(tiny_params(), "key") as logging:
        train(logging, epochs=2)
        raise error
    assert only_run().info.status == status
    assert len(points("train_loss")) == 2


def test_a_complete_run_stays_finished_when_its_training_is_repeated() -> None:
    log_run.LiveRun(tiny_params(), "key", BEGAN, history(2), {})
    MlflowClient(tracking_uri()).set_terminated(only_run().info.run_id)
    with pytest.raises(KeyboardInterrupt), LiveLogging(tiny_params(), "key") as logging:
        train(logging, epochs=2)
        raise KeyboardInterrupt
    assert only_run().info.status == "FINISHED"


# ---- MLflow away


def test_training_never_waits_for_mlflow(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    called, answer = threading.Event(), threading.Event()

    def hang(*arguments: Any) -> None:
        called.set()
        answer.wait()
        raise UserError("MLflow is away")

    monkeypatch.setattr(log_run, "LiveRun", hang)
    monkeypatch.setattr(live, "CLOSE_TIMEOUT", 0.1)
    with LiveLogging(tiny_params(), "key") as logging:
        train(logging, epochs=1)
        assert called.wait(250)
        # hangs, and so fails, if an epoch waits for the answer
        train(logging, epochs=3, start=2)
    assert not answer.is_set(), "neither does the end of training"
    answer.set()
    logging.close()
    assert capfd.readouterr().err == "", "the track stage will tell"


@pytest.mark.parametrize(("fails", "warnings"), [(False, 0), (True, 1)])
def test_epochs_that_mlflow_has_not_taken_matter_after_a_failure_only(
    fails: bool, warnings: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    called, answer = threading.Event(), threading.Event()
    log = log_run.LiveRun.log

    def hang_later(self: log_run.LiveRun, epochs: list[Epoch]) -> None:
        if epochs[0].epoch > 1:
            called.set()
            answer.wait()
        log(self, epochs)

    monkeypatch.setattr(log_run.LiveRun, "log", hang_later)
    monkeypatch.setattr(live, "CLOSE_TIMEOUT", 0.1)
    with suppress(UserError), LiveLogging(tiny_params(), "key") as logging:
        train(logging, epochs=2)
        assert called.wait(250)
        if fails:
            raise UserError("training diverged")
    answer.set()
    assert capfd.readouterr().err.count("warning: ") == warnings


@pytest.fixture
def silent_server() -> Iterator[str]:
    """A server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("kind", ["refuses", "hangs"])
def test_a_server_that_is_away_is_one_warning(
    kind: str,
    silent_server: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    address = silent_server if kind == "hangs" else f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with LiveLogging(tiny_params(), "key") as logging:
        train(logging, epochs=3)
    shown = capfd.readouterr().err
    assert shown.count("warning: ") == 1
    assert f"warning: MLflow at {address} can't be used" in shown
    assert "Traceback" not in shown
