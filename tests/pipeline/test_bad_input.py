"""A user's mistakes: one sentence that says what to mend, before any work, and nothing is lost."""

import gzip
import hashlib
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml
from project import Project, changed

MISTAKES: list[tuple[str, dict[str, Any], str]] = [
    # the first stage that refuses, the change, the error
    (
        "prepare",
        {"data.val_fraction": 1.5},
        "data.val_fraction is 1.5: must be below",
    ),
    ("prepare", {"train.lrr": 1}, "train.lrr is not a known key: did you mean train.lr?"),
    ("train", {"train.lr": None}, "train.lr is empty: must be a number"),
    ("train", {"model.name": "res net"}, "model.name is 'res net': must be the name of a network"),
    (
        "train",
        {"model.weights": "pretrained"},
        "model.name=cnn has no pretrained parameters: set model.weights=null",
    ),
    ("train", {"train.freeze": "backbone"}, "train.freeze=backbone needs model.weights"),
    (
        "evaluate",
        {"evaluate.bins": 1},
        "evaluate.bins is 1: must be at least 2",
    ),
    ("export", {"export.tolerance": 0}, "export.tolerance is 0: must be above 0"),
    (
        "track",
        {"track.model_name": "a/b"},
        "track.model_name is 'a/b': must be a name without",
    ),
]


@pytest.mark.parametrize(("stage", "change", "sentence"), MISTAKES, ids=str)
def test_every_stage_checks_all_params_before_it_does_anything(
    reproduced_template: Project, tmp_path: Path, stage: str, change: dict[str, Any], sentence: str
) -> None:
    project = Project(tmp_path, reproduced_template.env)
    (tmp_path / "params.yaml").write_text(
        yaml.safe_dump(changed(reproduced_template.params(), change))
    )
    # nothing else is there: a stage that did not look at the params first would fail otherwise
    project.env["PYTHONPATH"] = str(reproduced_template.root)
    output = project.refused(
        "python", "-m", f"stages.{stage}", *reproduced_template.stage(stage)[3:]
    )
    assert output.startswith(f"params.yaml: {sentence}")
    # and the folder that stages keep their locks in
    assert {path.name for path in tmp_path.iterdir()} == {"params.yaml", ".reprovision"}


@pytest.mark.slow
def test_mistyped_experiments_fail_before_any_work_and_lose_nothing(reproduced: Project) -> None:
    before = reproduced.outputs()
    for flag, sentence in [
        ("+train.lrr=1", "train.lrr is not a known key: did you mean train.lr?"),
        ("train.lr=abc", "train.lr is 'abc': must be a number"),
        ("train.lr=", "train.lr is '': must be a number"),
    ]:
        output = reproduced.refused("dvc", "exp", "run", "-S", flag)
        assert output.startswith(f"params.yaml: {sentence}")
        assert len(reproduced.runs()) == 1
        reproduced.git("checkout", "params.yaml")
    reproduced.repro()
    assert reproduced.outputs() == before
    assert len(reproduced.runs()) == 1


def test_dvc_and_we_read_the_same_number(reproduced: Project) -> None:
    # PyYAML would read text here; DVC writes 1e-3 in this way
    text = (reproduced.root / "params.yaml").read_text()
    (reproduced.root / "params.yaml").write_text(text.replace("lr: 0.02", "lr: 2e-2"))
    assert yaml.safe_load("2e-2") == "2e-2"
    before = reproduced.outputs()
    reproduced.run(*reproduced.stage("train"))
    assert reproduced.outputs() == before


def test_a_missing_source_is_named(reproduced: Project) -> None:
    before = reproduced.outputs()
    done = reproduced.exp("run", "-S", "data.source=data/minst.yaml", check=False)
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert "Traceback" not in output
    assert "data/minst.yaml" in output
    output = reproduced.refused("python", "-m", "stages.prepare", "data/minst.yaml", "x", "y.png")
    assert "data.source is data/minst.yaml, which does not exist: use a descriptor" in output
    assert "data/mnist.yaml" in output
    reproduced.set_params(**{"data.source": "data/digits.yaml"})
    reproduced.repro()
    assert reproduced.outputs() == before


def test_a_damaged_archive_or_descriptor_stops_prepare_and_what_was_there_comes_back(
    reproduced: Project,
) -> None:
    before = reproduced.outputs()
    images = bytes([0, 0, 8, 3, 0, 0, 0, 9, 0, 0, 0, 8, 0, 0, 0, 8]) + bytes(9 * 64)
    labels = bytes([0, 0, 8, 1, 0, 0, 0, 9]) + bytes(range(9))
    raw = reproduced.root / "data/downloads/Own/raw"
    raw.mkdir(parents=True)
    files = {}
    for name, content in (
        ("images", gzip.compress(images)[:-9]),
        ("labels", gzip.compress(labels)),
    ):
        (raw / name).write_bytes(content)
        files[name] = {"file": name, "md5": hashlib.md5(content).hexdigest()}
    own = {
        "format": "idx",
        "folder": "Own/raw",
        "mirrors": ["http://127.0.0.1:9/"],
        "classes": list("abcdefghi"),
        "train": files,
        "test": files,
    }
    reproduced.set_params(**{"data.source": "data/own.yaml"})
    for content, sentence in [
        (yaml.safe_dump(own), "data/downloads/Own/raw/images can't be read ("),
        ("format: [", "data/own.yaml is not readable YAML, correct it there: "),
        ("format: zip", "data/own.yaml: format is 'zip': use digits or idx or cifar"),
    ]:
        (reproduced.root / "data/own.yaml").write_text(content)
        assert sentence in reproduced.refused("dvc", "repro")
    reproduced.set_params(**{"data.source": "data/digits.yaml"})
    reproduced.repro()
    assert reproduced.outputs() == before


def test_images_that_git_and_dvc_do_not_know_are_reported_in_a_temporary_workspace(
    reproduced: Project,
) -> None:
    (reproduced.root / "pets" / "cat").mkdir(parents=True)
    (reproduced.root / "pets" / "cat" / "1.png").write_bytes(b"")
    done = reproduced.exp("run", "--temp", "-S", "data.source=pets", check=False)
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert "pets" in output
    assert "Traceback" not in output


def test_ctrl_c_ends_a_stage_without_a_stack_trace(reproduced: Project) -> None:
    reproduced.set_params(**{"train.epochs": 100_000})
    stage = reproduced.start(*reproduced.stage("train"))
    assert stage.stdout is not None
    while " 2/100000 " not in stage.stdout.readline():
        assert stage.poll() is None
    stage.send_signal(signal.SIGINT)
    output = stage.stdout.read()
    assert stage.wait(30) != 0
    assert "Traceback" not in output
