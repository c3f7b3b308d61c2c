"""`reprovision evaluate`: a model on images of its own test set, and of other sources."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from project import Project

from reprovision.data.dataset import load_origins, load_split


@pytest.mark.parametrize("model", ["models/checkpoint.safetensors", "models/exported"])
def test_the_images_set_apart_give_the_metrics_of_the_pipeline(
    model: str, reproduced_template: Project, tmp_path: Path
) -> None:
    project = reproduced_template
    source = ("--source", "data/digits.yaml", "--set-apart")
    done = project.run("reprovision", "evaluate", model, *source, "--out", str(tmp_path / "out"))
    expected = project.json("results/test.json")
    found = json.loads((tmp_path / "out" / "test.json").read_text())
    assert found == pytest.approx(expected, abs=2e-5)
    own = (project.root / "results/predictions.csv").read_text().splitlines()
    rows = (tmp_path / "out" / "predictions.csv").read_text().splitlines()
    assert [row.split(",")[:3] for row in rows] == [row.split(",")[:3] for row in own]
    assert f"accuracy {expected['accuracy']:.2%} over 300 images of data/digits.yaml" in done.stdout
    assert done.stdout.splitlines()[1].split() == ["class", "images", "recall", "interval"]


def save_test_images(project: Project, folder: Path, name: str = "{}") -> int:
    """Its test images as files, in folders named after their classes; returns their number."""
    test = load_split(project.root / "data/prepared", "test")
    origins = load_origins(project.root / "data/prepared", "test")
    for image, label, origin in zip(test.images, test.labels, origins, strict=True):
        path = folder / name.format(label) / f"{origin.replace('/', '-')}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(image[0])).save(path)
    return len(test)


def test_a_folder_is_tested_as_a_whole(reproduced_template: Project, tmp_path: Path) -> None:
    count = save_test_images(reproduced_template, tmp_path / "scans")
    model = ("models/checkpoint.safetensors", "--source", str(tmp_path / "scans"))
    done = reproduced_template.run("reprovision", "evaluate", *model)
    accuracy = reproduced_template.json("results/test.json")["accuracy"]
    assert f"accuracy {accuracy:.2%} over {count} images of" in done.stdout


def test_a_class_that_the_model_does_not_know_is_named(
    reproduced_template: Project, tmp_path: Path
) -> None:
    save_test_images(reproduced_template, tmp_path / "scans", "digit {}")
    model = ("models/exported/model.onnx", "--source", str(tmp_path / "scans"))
    done = reproduced_template.run("reprovision", "evaluate", *model, check=False)
    assert done.returncode == 1
    assert "has the class digit 0, which the model does not know: its classes" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_damaged_image_is_named(reproduced_template: Project, tmp_path: Path) -> None:
    count = save_test_images(reproduced_template, tmp_path / "scans")
    (tmp_path / "scans" / "7" / "new.png").write_bytes(b"none")
    model = ("models/exported", "--source", str(tmp_path / "scans"))
    done = reproduced_template.run("reprovision", "evaluate", *model, check=False)
    assert done.returncode == 1
    assert f"1 of {count + 1} images can't be read: " in done.stderr
    assert "7/new.png (" in done.stderr


def test_a_checkpoint_is_flipped_as_its_exported_model_is(
    reproduced: Project, tmp_path: Path
) -> None:
    reproduced.set_params(**{"evaluate.flip": True})
    reproduced.repro()
    expected = reproduced.json("results/test.json")
    for model in ([], ["models/checkpoint.safetensors"]):
        arguments = ("--source", "data/digits.yaml", "--set-apart", "--out", str(tmp_path / "out"))
        reproduced.run("reprovision", "evaluate", *model, *arguments)
        found = json.loads((tmp_path / "out" / "test.json").read_text())
        assert found == pytest.approx(expected, abs=2e-5)


def test_images_set_apart_are_those_of_the_chosen_classes(
    reproduced: Project, tmp_path: Path
) -> None:
    reproduced.set_params(**{"data.classes": ["7", "1"]})
    reproduced.repro()
    arguments = ("--source", "data/digits.yaml", "--set-apart", "--out", str(tmp_path / "out"))
    reproduced.run("reprovision", "evaluate", *arguments)
    found = json.loads((tmp_path / "out" / "test.json").read_text())
    assert found == pytest.approx(reproduced.json("results/test.json"), abs=2e-5)
