"""The MLflow run of a pipeline run: findable, complete and logged once, whatever the store."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import StartServer
from mlflow.entities import Run
from project import Project
from servers import free_port

from reprovision.core.files import digest_of_file
from reprovision.core.params import load_params
from reprovision.core.yaml_files import flatten
from reprovision.data.dataset import load_info, load_split
from reprovision.results import layout
from reprovision.results.history import read_history
from reprovision.results.metrics import METRICS
from reprovision.results.predictions import read_predictions
from reprovision.tracking import runs
from reprovision.tracking.log_run import LiveRun, log_run

BY_EPOCH = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr")


@pytest.fixture(scope="module")
def run(reproduced_template: Project) -> Run:
    """The run that `dvc repro` has logged."""
    (found,) = reproduced_template.runs()
    return found


# ---- what a run holds


def test_a_run_is_finished_and_named_after_its_data_model_and_commit(
    reproduced_template: Project, run: Run
) -> None:
    commit = reproduced_template.git("rev-parse", "--short", "HEAD~")
    assert run.info.status == "FINISHED"
    assert run.info.run_name == f"digits cnn {commit}"


def test_all_params_are_there_under_their_dotted_names(
    reproduced_template: Project, run: Run
) -> None:
    params = flatten(load_params(reproduced_template.root / layout.PARAMS))
    assert set(run.data.params) == set(params)
    assert run.data.params["train.lr"] == "0.02"
    assert run.data.params["data.image_size"] == "null"
    assert run.data.params["train.betas"] == "[0.9, 0.999]"
    assert run.data.params["model.activation"] == "relu"


def test_every_epoch_is_there_once(reproduced_template: Project, run: Run) -> None:
    history = read_history(reproduced_template.root / layout.HISTORY)
    for name in BY_EPOCH:
        expected = [(epoch.epoch, getattr(epoch, name)) for epoch in history]
        assert reproduced_template.metric(run, name) == expected


def test_the_test_metrics_are_those_of_the_results(reproduced_template: Project, run: Run) -> None:
    test = reproduced_template.json("results/test.json")
    # the number of images is a fact of the dataset
    del test["images"]
    assert set(test) == {*METRICS, "accuracy_low", "accuracy_high"}
    for name, value in test.items():
        assert reproduced_template.metric(run, f"test_{name}") == [(0, value)]
    assert run.data.metrics["train_seconds"] > 0
    others = {name for name in run.data.metrics if not name.startswith("test_")}
    assert others == {*BY_EPOCH, "train_seconds", "export_max_difference"}
    assert 0 < run.data.metrics["export_max_difference"] < 1e-5


def test_results_plots_and_card_are_artifacts(reproduced_template: Project, run: Run) -> None:
    client, run_id = reproduced_template.mlflow(), run.info.run_id
    files = {file.path for file in client.list_artifacts(run_id)}
    assert {"test.json", "predictions.csv", "history.csv", "README.md"} <= files
    plots = {Path(file.path).name for file in client.list_artifacts(run_id, "plots")}
    assert plots == {p.name for p in (reproduced_template.root / layout.PLOTS).iterdir()}


def test_the_dataset_is_named_with_its_digest(reproduced_template: Project, run: Run) -> None:
    info = load_info(reproduced_template.root / layout.PREPARED)
    (given,) = run.inputs.dataset_inputs
    assert given.dataset.name == "digits"
    assert info.digest.startswith(given.dataset.digest)
    assert json.loads(given.dataset.profile) == {
        name: sum(split.counts) for name, split in info.splits.items()
    }


def test_commit_and_machine_are_tags(reproduced_template: Project, run: Run) -> None:
    tags = run.data.tags
    assert tags["mlflow.source.git.commit"] == reproduced_template.git("rev-parse", "HEAD~")
    assert tags["git.dirty"] == "false"
    assert "dvc.experiment" not in tags
    for name in ("torch", "python", "cpu", "threads", "device"):
        assert tags[f"environment.{name}"]


@pytest.mark.slow
def test_edited_code_is_tagged(reproduced: Project) -> None:
    module = reproduced.root / "stages" / "track.py"
    module.write_text(module.read_text() + "# edited\n")
    (reproduced.root / "mlflow.db").unlink()
    reproduced.run(*reproduced.stage("track"))
    assert reproduced.runs()[0].data.tags["git.dirty"] == "true"


def test_the_model_is_registered_and_predicts_what_the_results_hold(
    reproduced_template: Project, run: Run
) -> None:
    import mlflow

    (version,) = reproduced_template.mlflow().search_model_versions("name = 'digits'")
    assert version.run_id == run.info.run_id
    mlflow.set_tracking_uri(reproduced_template.store)
    model = mlflow.pyfunc.load_model("models:/digits/1")

    prepared = reproduced_template.root / layout.PREPARED
    classes = load_info(prepared).classes
    expected = read_predictions(reproduced_template.root / layout.PREDICTIONS, classes)
    found = model.predict(load_split(prepared, "test").images)
    assert list(found.predicted) == [classes[label] for label in expected.predicted]
    assert list(found.confidence) == pytest.approx(expected.confidence, abs=1e-5)


# ---- one run for one key


@pytest.mark.slow
def test_a_change_of_evaluation_alone_logs_a_complete_run_without_training(
    reproduced: Project,
) -> None:
    before = reproduced.outputs()
    reproduced.set_params(**{"evaluate.bins": 5})
    assert "Stage 'train' didn't change, skipping" in reproduced.repro().stdout
    assert (
        reproduced.outputs()["models/checkpoint.safetensors"]
        == before["models/checkpoint.safetensors"]
    )
    # both have the times of the one training
    by_bins = {run.data.params["evaluate.bins"]: run for run in reproduced.runs()}
    old, new = by_bins.pop("15"), by_bins.pop("5")
    assert not by_bins
    assert old.info.start_time == new.info.start_time
    for name in BY_EPOCH:
        assert reproduced.metric(new, name) == reproduced.metric(old, name)
    assert new.data.metrics["test_accuracy"] == old.data.metrics["test_accuracy"]


@pytest.fixture
def inside(reproduced: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """A project with results and without an MLflow store, with this process in its folder."""
    (reproduced.root / "mlflow.db").unlink()
    monkeypatch.chdir(reproduced.root)
    yield reproduced


def test_a_run_that_was_logged_live_is_completed_once(inside: Project) -> None:
    params, history = load_params(), read_history(layout.HISTORY)
    for _ in range(2):
        LiveRun(params, "key", 1_700_000_000_000, history[:1], {})
    (live,) = inside.runs()
    assert live.info.status == "RUNNING"
    assert inside.metric(live, "val_loss") == [(1, history[0].val_loss)]

    for _ in range(2):
        log_run(params, "key")
        (done,) = inside.runs()
        assert done.info.run_id == live.info.run_id
        assert done.info.status == "FINISHED"
        assert sorted(step for step, _ in inside.metric(done, "train_loss")) == [1, 2]
        assert len(inside.metric(done, "test_accuracy")) == 1


def test_an_interrupted_track_stage_is_completed_without_duplicates(
    inside: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = load_params()
    with monkeypatch.context() as patch:
        patch.setattr("reprovision.tracking.log_run._log_training", interrupt)
        with pytest.raises(KeyboardInterrupt):
            log_run(params, "key")
    (cut_off,) = inside.runs()
    assert cut_off.info.status == "FAILED"

    log_run(params, "key")
    (run,) = inside.runs()
    assert run.info.status == "FINISHED"
    assert len(inside.metric(run, "test_accuracy")) == 1
    assert [step for step, _ in inside.metric(run, "train_loss")] == [1, 2]
    assert len(inside.mlflow().search_logged_models([run.info.experiment_id])) == 1


def interrupt(*arguments: object) -> None:
    raise KeyboardInterrupt


def test_epochs_of_another_training_are_another_run(inside: Project) -> None:
    params, history = load_params(), read_history(layout.HISTORY)
    # e.g. of another processor, which trains to slightly different parameters
    LiveRun(params, "key", 1_700_000_000_000, [replace(history[0], train_loss=9.0)], {})
    log_run(params, "key")
    assert len(inside.runs()) == 2
    newest = inside.runs()[0]
    assert [v for _, v in inside.metric(newest, "train_loss")] == [e.train_loss for e in history]


def test_another_checkpoint_of_the_same_key_is_another_run(inside: Project) -> None:
    params = load_params()
    log_run(params, "key")
    content = layout.CHECKPOINT.read_bytes()
    layout.CHECKPOINT.write_bytes(content + b" ")
    log_run(params, "key")
    assert len(inside.runs()) == 2
    layout.CHECKPOINT.write_bytes(content)
    log_run(params, "key")
    assert len(inside.runs()) == 2


def test_epochs_have_the_times_of_the_training(reproduced_template: Project, run: Run) -> None:
    (folder,) = (reproduced_template.root / ".reprovision" / "environment").iterdir()
    times = json.loads(folder.read_text())["epoch_times"]
    found = reproduced_template.mlflow().get_metric_history(run.info.run_id, "val_loss")
    assert {str(metric.step): metric.timestamp for metric in found} == times
    assert run.info.start_time < min(times.values()) <= max(times.values()) <= run.info.end_time
    duration = (run.info.end_time - run.info.start_time) / 1000
    assert duration == pytest.approx(run.data.metrics["train_seconds"], abs=0.001)


@pytest.mark.slow
def test_the_machine_belongs_to_the_checkpoint_and_not_to_the_params(reproduced: Project) -> None:
    first = digest_of_checkpoint(reproduced)
    reproduced.set_params(numerics="native", **{"train.threads": "auto"})
    reproduced.repro("train")
    second = digest_of_checkpoint(reproduced)
    names = {path.stem for path in (reproduced.root / ".reprovision" / "environment").iterdir()}
    assert names == {first, second}


def digest_of_checkpoint(project: Project) -> str:
    return digest_of_file(project.root / layout.CHECKPOINT)


# ---- a run as other tools read it


def test_an_mlflow_run_reads_like_the_results_themselves(inside: Project) -> None:
    params = load_params()
    log_run(params, "key")
    (run,) = runs.finished_runs(params.track.experiment)
    test = inside.json("results/test.json")
    assert run.params == flatten(params)
    assert run.test_set.images == test.pop("images") == 300
    assert run.metrics == test
    assert run.history == read_history(layout.HISTORY)
    assert (
        run.predictions.origins == read_predictions(layout.PREDICTIONS, run.dataset.classes).origins
    )
    assert run.read(layout.RECALL) == layout.RECALL.read_bytes()
    assert run.read(layout.CARD) == layout.CARD.read_bytes()
    assert run.read(layout.CHECKPOINT) is None


# ---- servers


@pytest.mark.slow
def test_a_dead_server_loses_nothing_and_a_new_one_is_filled(
    reproduced: Project, mlflow_server: StartServer
) -> None:
    port = free_port()
    reproduced.env["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{port}"
    reproduced.set_params(**{"train.epochs": 3})
    assert "start the server" in reproduced.refused("dvc", "repro")
    assert (reproduced.root / layout.TEST_METRICS).exists()

    mlflow_server(port=port)
    shown = reproduced.repro().stdout
    assert "Running stage 'track'" in shown
    assert "Running stage 'train'" not in shown, "nothing was lost"
    assert f"http://127.0.0.1:{port}/#" in shown
    check_run(reproduced)

    reproduced.env["MLFLOW_TRACKING_URI"] = f"sqlite:///{reproduced.root}/new.db"
    assert reproduced.runs() == []
    reproduced.repro("--force", "--single-item", "track")
    check_run(reproduced)


def check_run(project: Project) -> None:
    """Checks that a server holds the complete run once, and gives its files back."""
    (run,) = project.runs()
    assert [step for step, _ in project.metric(run, "train_loss")] == [1, 2, 3]
    text = project.mlflow().download_artifacts(run.info.run_id, "test.json")
    assert json.loads(Path(text).read_text())["accuracy"] == run.data.metrics["test_accuracy"]
    (version,) = project.mlflow().search_model_versions("name = 'digits'")
    assert version.run_id == run.info.run_id


@pytest.mark.slow
def test_outside_git_a_run_is_logged_too(reproduced: Project) -> None:
    subprocess.run(["rm", "-rf", str(reproduced.root / ".git")], check=True)
    (reproduced.root / "mlflow.db").unlink()
    reproduced.run(*reproduced.stage("track"))
    (run,) = reproduced.runs()
    assert run.info.run_name == "digits cnn no commit"
