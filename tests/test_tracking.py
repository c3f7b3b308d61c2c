"""What MLflow holds of a run: findable, complete, written once, whatever the store."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import StartServer, free_port
from mlflow import MlflowClient
from mlflow.entities import Run
from project import Project, tiny_params

from reprovision.core.errors import UserError
from reprovision.core.params import flatten, load_params
from reprovision.data.dataset import load_info, load_split
from reprovision.evaluation.metrics import read_predictions
from reprovision.tracking.live import LiveRun
from reprovision.tracking.record import Results, write_epochs, write_record
from reprovision.tracking.store import open_store, tracking_uri, ui_command
from reprovision.training import loop
from reprovision.training.history import Epoch, read_history

BY_EPOCH = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr")


@pytest.fixture(scope="module")
def run(reproduced_template: Project) -> Run:
    """The run that `dvc repro` has written."""
    (found,) = reproduced_template.runs()
    return found


# ---- what a run says


def test_a_run_is_finished_and_named_after_its_data_model_and_commit(
    reproduced_template: Project, run: Run
) -> None:
    commit = reproduced_template.git("rev-parse", "--short", "HEAD~")
    assert run.info.status == "FINISHED"
    assert run.info.run_name == f"digits cnn {commit}"


def test_all_params_are_there_under_their_dotted_names(
    reproduced_template: Project, run: Run
) -> None:
    params = flatten(load_params(reproduced_template.root / "params.yaml"))
    assert set(run.data.params) == set(params)
    assert run.data.params["train.lr"] == "0.02"
    assert run.data.params["data.image_size"] == "null"
    assert run.data.params["train.betas"] == "[0.9, 0.999]"
    assert run.data.params["model.activation"] == "relu"


def test_every_epoch_is_there_once(reproduced_template: Project, run: Run) -> None:
    history = read_history(reproduced_template.root / "results" / "history.csv")
    for name in BY_EPOCH:
        expected = [(epoch.epoch, getattr(epoch, name)) for epoch in history]
        assert reproduced_template.metric(run, name) == expected


def test_the_test_metrics_are_those_of_the_results(reproduced_template: Project, run: Run) -> None:
    test = reproduced_template.json("results/test.json")
    # how many images there are is a fact about the data and stands there
    del test["images"]
    for name, value in test.items():
        assert reproduced_template.metric(run, f"test_{name}") == [(0, value)]
    assert run.data.metrics["train_seconds"] > 0
    figures = {name for name in run.data.metrics if not name.startswith("test_")}
    assert figures == {*BY_EPOCH, "train_seconds"}


def test_what_people_look_at_is_an_artifact(reproduced_template: Project, run: Run) -> None:
    client, run_id = reproduced_template.mlflow(), run.info.run_id
    files = {file.path for file in client.list_artifacts(run_id)}
    assert {"test.json", "predictions.csv", "history.csv", "README.md"} <= files
    plots = {Path(file.path).name for file in client.list_artifacts(run_id, "plots")}
    assert plots == {p.name for p in (reproduced_template.root / "results/plots").iterdir()}


def test_the_data_are_named_with_their_digest(reproduced_template: Project, run: Run) -> None:
    info = load_info(reproduced_template.root / "data" / "prepared")
    (given,) = run.inputs.dataset_inputs
    assert given.dataset.name == "digits"
    assert info.digest.startswith(given.dataset.digest)
    assert json.loads(given.dataset.profile) == {"train": 270, "val": 30, "test": 300}


def test_commit_and_machine_are_tags(reproduced_template: Project, run: Run) -> None:
    tags = run.data.tags
    assert tags["mlflow.source.git.commit"] == reproduced_template.git("rev-parse", "HEAD~")
    assert tags["git.dirty"] == "false"
    assert "dvc.experiment" not in tags
    for name in ("torch", "python", "cpu", "threads", "device"):
        assert tags[f"environment.{name}"]


def test_edited_code_is_told(reproduced: Project) -> None:
    module = reproduced.root / "stages" / "track.py"
    module.write_text(module.read_text() + "# edited\n")
    (reproduced.root / "mlflow.db").unlink()
    reproduced.run(*reproduced.stage("track"))
    assert reproduced.runs()[0].data.tags["git.dirty"] == "true"


def test_the_model_is_registered_and_can_be_loaded_and_predicts(
    reproduced_template: Project, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    (version,) = reproduced_template.mlflow().search_model_versions("name = 'reprovision'")
    assert version.run_id == run.info.run_id
    monkeypatch.setenv("MLFLOW_TRACKING_URI", reproduced_template.store)
    mlflow.set_tracking_uri(reproduced_template.store)
    model = mlflow.pyfunc.load_model("models:/reprovision/1")
    signature = model.metadata.signature
    assert [str(spec) for spec in signature.inputs] == ["'pixels': Tensor('uint8', (-1, 1, 8, 8))"]
    assert [str(spec) for spec in signature.outputs] == [
        "'probabilities': Tensor('float32', (-1, 10))"
    ]
    example = model.input_example
    assert example["pixels"].shape == (1, 1, 8, 8)
    assert model.predict(example)["probabilities"].shape == (1, 10)

    prepared = reproduced_template.root / "data" / "prepared"
    classes = load_info(prepared).classes
    expected = read_predictions(reproduced_template.root / "results" / "predictions.csv", classes)
    got = model.predict({"pixels": load_split(prepared, "test").images})["probabilities"]
    assert np.array_equal(got.argmax(1), expected.predicted)
    assert got.max(1) == pytest.approx(expected.confidence, abs=1e-5)

    onnx = mlflow.onnx.load_model("models:/reprovision/1")
    assert [given.name for given in onnx.graph.input] == ["pixels"]


# ---- one run for one key


def test_a_change_of_evaluation_alone_makes_a_whole_run_without_training(
    reproduced: Project,
) -> None:
    before = reproduced.outputs()
    reproduced.set_params(**{"evaluate.bins": 5})
    said = reproduced.repro().stdout
    assert "Stage 'train' didn't change, skipping" in said
    assert (
        reproduced.outputs()["models/checkpoint.safetensors"]
        == before["models/checkpoint.safetensors"]
    )
    new, old = reproduced.runs()
    assert new.data.params["evaluate.bins"] == "5"
    for name in BY_EPOCH:
        assert reproduced.metric(new, name) == reproduced.metric(old, name)
    assert new.data.metrics["test_accuracy"] == old.data.metrics["test_accuracy"]


@pytest.fixture
def inside(reproduced: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """A project with results and a new store, with this process in its folder."""
    (reproduced.root / "mlflow.db").unlink()
    monkeypatch.chdir(reproduced.root)
    yield reproduced


RESULTS = Results(
    Path("data/prepared"),
    Path("models/checkpoint.safetensors"),
    Path("models/exported"),
    Path("results"),
)


def test_what_was_told_live_is_completed_and_not_doubled(inside: Project) -> None:
    params, history = load_params(), read_history("results/history.csv")
    write_epochs(params, "key", history[:1])
    write_epochs(params, "key", history[:1])
    (live,) = inside.runs()
    assert live.info.status == "RUNNING"
    assert inside.metric(live, "val_loss") == [(1, history[0].val_loss)]

    for _ in range(2):
        write_record(params, "key", RESULTS)
        (done,) = inside.runs()
        assert done.info.run_id == live.info.run_id
        assert done.info.status == "FINISHED"
        assert [step for step, _ in inside.metric(done, "train_loss")] == [1, 2]
        assert len(inside.metric(done, "test_accuracy")) == 1


def test_epochs_of_another_training_are_not_gone_on_with(inside: Project) -> None:
    params, history = load_params(), read_history("results/history.csv")
    # e.g. of another processor, which trains to slightly other weights
    write_epochs(params, "key", [replace(history[0], train_loss=9.0)])
    write_epochs(params, "key", history)
    assert len(inside.runs()) == 2
    newest = inside.runs()[0]
    assert [v for _, v in inside.metric(newest, "train_loss")] == [e.train_loss for e in history]


def test_params_that_an_interrupted_run_lacks_are_added(inside: Project) -> None:
    params = load_params()
    with open_store(params.track.experiment) as store:
        store.create("key", "interrupted", {})
    write_record(params, "key", RESULTS)
    (run,) = inside.runs()
    assert run.data.params["train.lr"] == "0.02"
    assert run.info.status == "FINISHED"


def test_another_checkpoint_of_the_same_key_is_another_run(inside: Project) -> None:
    params = load_params()
    write_record(params, "key", RESULTS)
    content = RESULTS.checkpoint.read_bytes()
    RESULTS.checkpoint.write_bytes(content + b" ")
    write_record(params, "key", RESULTS)
    assert len(inside.runs()) == 2
    RESULTS.checkpoint.write_bytes(content)
    write_record(params, "key", RESULTS)
    assert len(inside.runs()) == 2


def test_a_deleted_experiment_is_taken_up_again(inside: Project) -> None:
    with open_store("mine") as store:
        store.client.delete_experiment(store.experiment_id)
    with open_store("mine") as store:
        assert store.client.get_experiment(store.experiment_id).lifecycle_stage == "active"


def test_an_epoch_costs_one_call_whatever_the_number_of_its_metrics(
    inside: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    for name in ("log_batch", "log_metric", "log_param", "set_tag"):
        original = getattr(MlflowClient, name)

        def spy(self: Any, *args: Any, _name: str = name, _call: Any = original, **kw: Any) -> Any:
            calls.append(_name)
            return _call(self, *args, **kw)

        monkeypatch.setattr(MlflowClient, name, spy)
    params, history = load_params(), read_history("results/history.csv")
    write_epochs(params, "key", history[:1])
    calls.clear()
    write_epochs(params, "key", history[:2])
    assert calls == ["log_batch"]


def test_a_record_of_many_epochs_is_whole(inside: Project) -> None:
    history = [Epoch(number, 1 / number, 0.5, 0.4, 0.3, 0.1) for number in range(1, 451)]
    write_epochs(load_params(), "key", history[:7])
    write_epochs(load_params(), "key", history)
    (run,) = inside.runs()
    for name in BY_EPOCH:
        assert [step for step, _ in inside.metric(run, name)] == list(range(1, 451))


def test_a_long_training_can_be_followed_while_it_runs(inside: Project) -> None:
    params = tiny_params(**{"train.epochs": 3})
    live = LiveRun(params, "live", after=0)
    state = loop.start(params, load_info(RESULTS.prepared))
    splits = load_split(RESULTS.prepared, "train"), load_split(RESULTS.prepared, "val")
    loop.train(state, *splits, params, [live])
    live.close()
    (run,) = inside.runs()
    assert [step for step, _ in inside.metric(run, "val_accuracy")] == [1, 2, 3]
    assert run.data.params["train.lr"] == "0.02"


# ---- stores


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, "sqlite:///{root}/mlflow.db"),
        ("", "sqlite:///{root}/mlflow.db"),
        ("sqlite:///other.db", "sqlite:///{root}/other.db"),
        ("sqlite:////absolute/x.db", "sqlite:////absolute/x.db"),
        ("http://server:5000", "http://server:5000"),
        ("mlruns", "file://{root}/mlruns"),
        ("postgresql://u@host/db", "postgresql://u@host/db"),
        ("databricks", "databricks"),
    ],
)
def test_relative_stores_lie_in_the_main_workspace_wherever_dvc_runs_the_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str | None, expected: str
) -> None:
    (tmp_path / "copy").mkdir()
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    if given is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    assert tracking_uri() == expected.format(root=tmp_path)


def test_the_command_to_look_at_runs_names_the_store_where_it_is_not_the_usual_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert ui_command("page").startswith("uv run mlflow ui, then http://")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////srv/x.db")
    assert "--backend-store-uri sqlite:////srv/x.db" in ui_command("page")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000/")
    assert ui_command("#/x") == "http://server:5000/#/x"


@pytest.mark.parametrize(
    "uri", ["foo://bar", "file:///srv/mlruns", "postgresql://u@localhost:9/db"]
)
def test_a_store_that_can_t_be_used_is_told_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UserError, match="can't be used") as caught, open_store("x"):
        pass
    assert "\n" not in str(caught.value)
    assert uri in str(caught.value)


def test_a_dead_server_costs_nothing_but_the_record_and_a_new_one_is_filled(
    reproduced: Project, mlflow_server: StartServer
) -> None:
    port = free_port()
    reproduced.env["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{port}"
    reproduced.set_params(**{"train.epochs": 3})
    assert "start the server" in reproduced.refused("dvc", "repro")
    assert (reproduced.root / "results" / "test.json").exists()

    mlflow_server(port=port)
    said = reproduced.repro().stdout
    assert "Running stage 'track'" in said
    assert "Running stage 'train'" not in said, "nothing was lost"
    assert f"http://127.0.0.1:{port}/#" in said
    check_record(reproduced)

    reproduced.env["MLFLOW_TRACKING_URI"] = f"sqlite:///{reproduced.root}/new.db"
    assert reproduced.runs() == []
    reproduced.repro("--force", "--single-item", "track")
    check_record(reproduced)


def check_record(project: Project) -> None:
    """That a server holds the whole record once, and gives its files back."""
    (run,) = project.runs()
    assert [step for step, _ in project.metric(run, "train_loss")] == [1, 2, 3]
    text = project.mlflow().download_artifacts(run.info.run_id, "test.json")
    assert json.loads(Path(text).read_text())["accuracy"] == run.data.metrics["test_accuracy"]
    (version,) = project.mlflow().search_model_versions("name = 'reprovision'")
    assert version.run_id == run.info.run_id


def test_outside_git_a_run_is_recorded_all_the_same(reproduced: Project) -> None:
    subprocess.run(["rm", "-rf", str(reproduced.root / ".git")], check=True)
    (reproduced.root / "mlflow.db").unlink()
    reproduced.run(*reproduced.stage("track"))
    (run,) = reproduced.runs()
    assert run.info.run_name == "digits cnn no commit"
