"""`dvc repro` from end to end on the digits, and DVC's own commands on what it made."""

import csv
import json
import re
import shutil
from pathlib import Path

import pytest
from conftest import MakeProject
from mlflow.entities import Run
from PIL import Image
from project import Project

STAGES = ("prepare", "train", "evaluate", "export", "track")


def skipped(output: str) -> list[str]:
    """The stages that DVC did not run, since nothing changed or since it had their results."""
    return re.findall(r"Stage '(\w+)' (?:didn't change|is cached)", output)


def started(output: str) -> list[str]:
    """The stages that DVC ran."""
    return re.findall(r"Running stage '(\w+)'", output)


def test_the_first_run_makes_everything_and_prints_where_it_is(
    reproduced_template: Project,
) -> None:
    project, output = reproduced_template, reproduced_template.first_output
    assert tuple(started(output)) == STAGES
    for word in ("results/test.json", "results/plots", "models/exported/model.onnx"):
        assert word in output.split("Running stage 'track'")[1]
    assert "uv run dvc metrics show" in output
    assert "mlflow ui" in output
    assert project.json("results/test.json")["accuracy"] > 0.6
    assert project.json("results/export.json")["same_predictions"] == 300
    assert len(project.outputs()) > 25


def test_the_program_prints_nothing_but_its_own_lines(reproduced_template: Project) -> None:
    dvc = (
        r"Running stage|> python|Generating lock|Updating lock|Use `dvc push`|To track the changes|"
    )
    dvc += r"To enable auto|git add|dvc config|^\s*$|is up to date|didn't change"
    lines = [
        line for line in reproduced_template.first_output.splitlines() if not re.search(dvc, line)
    ]
    own = (
        "digits: ",
        "cnn, ",
        "           train loss  accuracy  val loss  val accuracy  ",
        "epoch ",
        "kept epoch ",
        "test accuracy ",
        "model.onnx, ",
        "MLflow ",
        "         uv run mlflow ui, then http://127.0.0.1:5000/#/",
        "metrics ",
        "plots ",
        "model ",
    )
    assert [line for line in lines if not line.startswith(own)] == []


def test_a_second_run_does_nothing(reproduced: Project) -> None:
    before = reproduced.outputs()
    assert tuple(skipped(reproduced.repro().stdout)) == STAGES
    assert reproduced.outputs() == before
    assert reproduced.git("status", "--porcelain") == ""


def test_results_that_are_in_git_are_enough_for_metrics(
    reproduced: Project, tmp_path: Path
) -> None:
    tracked = reproduced.git("ls-files", "results").splitlines()
    assert {"results/test.json", "results/predictions.csv", "results/export.json"} <= set(tracked)
    clone = reproduced.clone(tmp_path / "clone")
    shown = json.loads(clone.run("dvc", "metrics", "show", "--json").stdout)
    assert shown[""]["data"]["results/test.json"]["data"] == reproduced.json("results/test.json")


@pytest.mark.slow
@pytest.mark.ci
def test_a_clone_elsewhere_makes_the_same_bytes_and_its_own_record(
    reproduced: Project, tmp_path: Path
) -> None:
    clone = reproduced.clone(tmp_path / "else where" / "clone")
    clone.repro()
    assert clone.outputs() == reproduced.outputs()
    assert clone.git("status", "--porcelain") == "", "dvc.lock is the one in Git"
    assert len(clone.runs()) == 1


@pytest.mark.slow
def test_a_forced_run_makes_the_same_bytes_and_keeps_one_record(reproduced: Project) -> None:
    before = reproduced.outputs()
    (run,) = reproduced.runs()
    assert tuple(started(reproduced.repro("--force").stdout)) == STAGES
    assert reproduced.outputs() == before
    (again,) = reproduced.runs()
    assert again.info.run_id == run.info.run_id
    for name in ("train_loss", "val_accuracy", "lr"):
        assert [step for step, _ in reproduced.metric(again, name)] == [1, 2]
    assert len(reproduced.metric(again, "test_accuracy")) == 1
    assert len(reproduced.mlflow().search_model_versions()) == 1


@pytest.mark.slow
@pytest.mark.ci
def test_an_experiment_can_be_compared_and_taken_back(reproduced: Project) -> None:
    before = reproduced.outputs()
    output = reproduced.exp("run", "--name", "slower", "-S", "train.lr=0.01").stdout
    assert started(output) == ["train", "evaluate", "export", "track"]
    slower, first = reproduced.runs()
    assert slower.data.tags["dvc.experiment"] == "slower"
    assert slower.info.run_name == "slower lr=0.01"
    assert (slower.data.params["train.lr"], first.data.params["train.lr"]) == ("0.01", "0.02")

    changes = json.loads(reproduced.run("dvc", "params", "diff", "--json").stdout)["params.yaml"]
    assert changes == {"train.lr": {"old": 0.02, "new": 0.01, "diff": pytest.approx(-0.01)}}
    metrics = json.loads(reproduced.run("dvc", "metrics", "diff", "--json").stdout)
    assert metrics["results/test.json"]["loss"]["diff"] != 0
    page = reproduced.run("dvc", "plots", "diff", "--out", "plots").stdout.strip()
    check_page(Path(page.removeprefix("file://")))

    reproduced.set_params(**{"train.lr": 0.02})
    output = reproduced.repro().stdout
    assert "Stage 'train' is cached - skipping run, checking out outputs" in output
    assert "track" in started(output), "what DVC restores is tracked nevertheless"
    assert reproduced.outputs() == before
    assert len(reproduced.runs()) == 2, "the record of the earlier run is still there"
    assert reproduced.git("status", "--porcelain", "--untracked-files=no") == ""


@pytest.mark.slow
@pytest.mark.ci
def test_an_experiment_in_a_temporary_workspace_leaves_its_record_in_the_main_one(
    reproduced: Project,
) -> None:
    reproduced.exp("run", "--temp", "--name", "aside", "-S", "train.lr=0.001")
    header, *rows = csv.reader(reproduced.exp("show", "--csv").stdout.splitlines())
    table = [dict(zip(header, row, strict=True)) for row in rows]
    (row,) = (row for row in table if row["Experiment"] == "aside")
    assert row["train.lr"] == "0.001"
    run = reproduced.runs()[0]
    assert float(row["accuracy"]) == pytest.approx(run.data.metrics["test_accuracy"])
    assert run.data.tags["dvc.experiment"] == "aside"
    assert run.info.run_name == "aside lr=0.001"
    check_artifacts(reproduced, run)
    assert reproduced.git("status", "--porcelain") == ""


def check_artifacts(project: Project, run: Run) -> None:
    """That the files of a run can be read: those in MLflow's store and the model."""
    uri = run.info.artifact_uri
    assert uri.startswith(f"file://{project.root}/mlartifacts/")
    names = {file.path for file in project.mlflow().list_artifacts(run.info.run_id)}
    assert {"plots", "test.json", "history.csv", "README.md"} <= names
    text = project.mlflow().download_artifacts(run.info.run_id, "test.json")
    accuracy = json.loads(Path(text).read_text())["accuracy"]
    assert accuracy == run.data.metrics["test_accuracy"]


def test_plots_can_be_shown(reproduced: Project) -> None:
    page = reproduced.run("dvc", "plots", "show", "--out", "plots").stdout.strip()
    check_page(Path(page.removeprefix("file://")))


def check_page(page: Path) -> None:
    """That a page of DVC's has our curves, the confusion matrix and the pictures."""
    text = page.read_text()
    for title in (
        "Loss by epoch",
        "Accuracy by epoch",
        "Test images by actual and predicted class",
    ):
        assert title in text
    pictures = " ".join(path.name for path in page.parent.rglob("*.png"))
    for name in ("samples", "mistakes", "confusion_matrix", "recall", "reliability", "curves"):
        assert name in pictures


def test_all_pictures_are_there_without_any_browser(reproduced_template: Project) -> None:
    pictures = sorted((reproduced_template.root / "results" / "plots").glob("*.png"))
    assert [p.stem for p in pictures] == [
        "confusion_matrix",
        "curves",
        "dataset",
        "mistakes",
        "recall",
        "reliability",
        "samples",
    ]
    for picture in pictures:
        with Image.open(picture) as image:
            image.load()


@pytest.mark.slow
@pytest.mark.ci
def test_queued_experiments_set_up_a_new_store_together_and_run_the_code_they_were_queued_with(
    reproduced: Project,
) -> None:
    for path in ("mlflow.db", "mlartifacts", ".reprovision"):
        remove(reproduced.root / path)
    reproduced.exp("run", "--queue", "-S", "train.lr=0.1,0.01,0.001")
    # editing goes on while the queue waits, in the package that `uv run` has installed
    edited = reproduced.root / "src/reprovision/training/loop.py"
    edited.write_text(edited.read_text() + "\nraise RuntimeError('edited later')\n")
    reproduced.env["PYTHONPATH"] = str(reproduced.root / "src")
    reproduced.run_queue(workers=2)

    runs = reproduced.runs()
    assert sorted(run.data.params["train.lr"] for run in runs) == ["0.001", "0.01", "0.1"]
    for run in runs:
        assert run.info.status == "FINISHED"
        check_artifacts(reproduced, run)
    assert len(reproduced.mlflow().search_model_versions()) == 3
    names = set(reproduced.exp("list", "--name-only").stdout.split())
    assert {run.data.tags["dvc.experiment"] for run in runs} == names
    for run in runs:
        name, rate = run.data.tags["dvc.experiment"], run.data.params["train.lr"]
        assert run.info.run_name == f"{name} lr={rate}"


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


@pytest.mark.slow
@pytest.mark.ci
def test_the_real_mnist_is_shared_by_all_experiments(
    make_project: MakeProject, mnist_archives: Path
) -> None:
    project = make_project()
    shutil.copytree(mnist_archives, project.root / "data/downloads/MNIST/raw")
    changes = {
        "data.source": "data/mnist.yaml",
        "data.limit": 2000,
        "model.name": "mlp",
        "train.batch_size": 64,
        "train.lr": 0.003,
        "train.epochs": 3,
    }
    flags = [part for key, value in changes.items() for part in ("-S", f"{key}={value}")]
    output = project.exp("run", "--temp", *flags).stdout
    assert re.search(r"mnist: 1,8\d\d train, \d+ val, 2,000 test images of 1x28x28", output)
    accuracy = float(re.findall(r"test accuracy ([\d.]+)%", output)[0])
    assert accuracy > 80
