"""`reprovision verify`: a commit reproduces its results, or the differences are described."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image
from project import Project
from safetensors.torch import load_file, save_file

from reprovision.verify import command
from reprovision.verify.command import DIFFERENT
from reprovision.verify.differences import describe


@pytest.mark.slow
@pytest.mark.ci
def test_a_commit_is_verified_without_changing_anything(reproduced: Project) -> None:
    before, runs = reproduced.outputs(), len(reproduced.runs())
    reproduced.set_params(**{"train.lr": 0.5})
    done = reproduced.run("reprovision", "verify")
    assert f"dvc.lock of commit {reproduced.git('rev-parse', 'HEAD')[:7]}" in done.stdout
    assert "Changes since that commit are not part of it: params.yaml." in done.stdout
    assert "The working tree holds all of the commit's outputs." in done.stdout
    assert "different" not in done.stdout
    assert "identical  data/prepared" in done.stdout
    assert "identical  results/track.json" in done.stdout
    assert reproduced.outputs() == before
    assert len(reproduced.runs()) == runs


@pytest.mark.slow
def test_results_that_a_commit_does_not_reproduce_are_named(reproduced: Project) -> None:
    checkpoint = reproduced.root / "models/checkpoint.safetensors"
    weights = load_file(checkpoint)
    weights["network.0.weight"][0, 0, 0, 0] += 0.5
    save_file(weights, checkpoint)
    results = reproduced.json("results/test.json")
    (reproduced.root / "results/test.json").write_text(json.dumps({**results, "images": 61}))
    reproduced.run("dvc", "commit", "--force")
    reproduced.commit("forged")
    checkpoint.unlink()

    done = reproduced.run("reprovision", "verify", check=False)
    assert done.returncode == DIFFERENT, done.stderr
    assert "network.0.weight: 1 of 36 values differ, by 0.5 at most" in done.stdout
    assert "images: 61 → 300" in done.stdout
    assert "does not hold the commit's models/checkpoint.safetensors." in done.stdout
    assert "identical  results/history.csv" in done.stdout


def test_a_commit_is_compared_with_its_own_results_whatever_is_committed_meanwhile(
    tmp_path: Path, environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(tmp_path / "project", environment)
    project.root.mkdir()
    project.git("init", "--quiet", "--initial-branch=main")
    project.introduce_author()
    outs = [{"path": "results/test.json", "md5": "1" * 32}]
    lock = json.dumps({"stages": {"evaluate": {"outs": outs}}})
    (project.root / "dvc.yaml").write_text("stages: {}")
    (project.root / "dvc.lock").write_text(lock)
    project.commit("verified")

    def run_again(root: Path, commit: str, folder: Path) -> Path:
        (root / "dvc.lock").write_text(lock.replace("1" * 32, "2" * 32))
        project.commit("meanwhile")
        (folder / "dvc.lock").write_text(lock)
        return folder

    monkeypatch.setattr(command, "run_again", run_again)
    monkeypatch.chdir(project.root)
    assert command.verify()


def test_a_commit_without_results_is_refused(project: Project) -> None:
    assert "no dvc.lock" in project.refused("reprovision", "verify")


def test_a_folder_without_a_project_is_refused(project: Project, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no dvc.yaml" in Project(tmp_path / "empty", project.env).refused(
        "reprovision", "verify"
    )


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _write_onnx(path: Path, value: float, operation: str) -> None:
    weight = numpy_helper.from_array(np.array([1, value], np.float32), "weight")
    node = onnx.helper.make_node(operation, ["weight"], ["out"])
    out = onnx.helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, [2])
    onnx.save(
        onnx.helper.make_model(onnx.helper.make_graph([node], "g", [], [out], [weight])), path
    )


@pytest.mark.parametrize(
    ("name", "write", "old", "new", "line"),
    [
        ("a.json", _write_text, ['{"a": {"b": 1}}'], ['{"a": {"b": 2}}'], "a.b: 1 → 2"),
        ("a.json", _write_text, ['{"a": 1}'], ['{"a":1}'], "equal content in other bytes"),
        ("a.csv", _write_text, ["x,y\n1,2\n3,4\n"], ["x,y\n1,2\n3,5\n"], "row 2, y: 4 → 5"),
        ("a.csv", _write_text, ["x\n1\n"], ["y\n1\n"], "row 1, x is only in the old one"),
        ("a.csv", _write_text, ["x\n1\n"], ["x\n1\n2\n"], "row 2, x is only in the new one"),
        ("a.md", _write_text, ["one\ntwo"], ["one\n"], "line 2 is only in the old one"),
        ("a.bin", _write_text, ["abc"], ["abd"], "the file: 1 of 3 values differ, by 1 at most"),
        (
            "a.npy",
            np.save,
            [np.zeros(3)],
            [np.array([0, 0, 0.25])],
            "1 of 3 values differ, by 0.25",
        ),
        (
            "a.npy",
            np.save,
            [np.array([np.nan, 1])],
            [np.array([np.nan, 3])],
            "1 of 2 values differ, by 2 at most",
        ),
        ("a.npy", np.save, [np.zeros(3)], [np.zeros(2)], "(3,) → float64 (2,)"),
        ("a.onnx", _write_onnx, [2, "Abs"], [3, "Abs"], "weight: 1 of 2 values differ, by 1 at"),
        ("a.onnx", _write_onnx, [2, "Abs"], [2, "Neg"], "the graph: "),
    ],
)
def test_a_difference_is_described(tmp_path, name, write, old, new, line) -> None:  # type: ignore[no-untyped-def]
    first, second = (tmp_path / side / name for side in ("old", "new"))
    for path, content in ((first, old), (second, new)):
        path.parent.mkdir()
        write(path, *content)
    assert any(line in found for found in describe(name, first, second))


def test_pictures_are_compared_by_pixels(tmp_path: Path) -> None:
    for name, level in (("old.png", 7), ("new.png", 9)):
        picture = Image.new("L", (4, 4))
        picture.putpixel((1, 1), level)
        picture.save(tmp_path / name)
    (line,) = describe("plot.png", tmp_path / "old.png", tmp_path / "new.png")
    assert line == "the picture: 3 of 64 values differ, by 2 at most"
