"""`reprovision evaluate`: a model on images of its own test set, and of other sources."""

import csv
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
    assert "warning" not in done.stderr


def test_that_val_is_left_out_is_reported(reproduced_template: Project, tmp_path: Path) -> None:
    for split in ("train", "val"):
        count = save_test_images(reproduced_template, tmp_path / "scans" / split)
    source = ("--source", str(tmp_path / "scans"))
    done = reproduced_template.run("reprovision", "evaluate", *source)
    assert f"over {count} images of" in done.stdout
    assert "only the images of train are evaluated, not those of val" in done.stderr


def test_one_class_is_enough_to_test_on(reproduced_template: Project, tmp_path: Path) -> None:
    project = reproduced_template
    save_test_images(project, tmp_path / "all")
    (tmp_path / "new").mkdir()
    (tmp_path / "all" / "7").rename(tmp_path / "new" / "7")
    source = ("--source", str(tmp_path / "new"), "--out", str(tmp_path / "out"))
    done = project.run("reprovision", "evaluate", *source)
    rows = (project.root / "results/classes.csv").read_text().splitlines()
    (expected,) = (row for row in csv.DictReader(rows) if row["name"] == "7")
    found = json.loads((tmp_path / "out" / "test.json").read_text())
    assert found["accuracy"] == pytest.approx(float(expected["recall"]), abs=1e-5)
    assert found["images"] == int(expected["images"])
    assert "macro_roc_auc" not in found
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == ["class", "7"]


def test_images_that_were_trained_on_are_counted(
    reproduced_template: Project, tmp_path: Path
) -> None:
    project = reproduced_template
    count = save_test_images(project, tmp_path / "scans")
    train = load_split(project.root / "data/prepared", "train")
    for number in range(2):
        name = f"{train.labels[number]}/trained-{number}.png"
        Image.fromarray(np.asarray(train.images[number][0])).save(tmp_path / "scans" / name)
    done = project.run("reprovision", "evaluate", "--source", str(tmp_path / "scans"))
    assert (
        f"warning: 2 of {count + 2} images are training images in data/prepared: if the model was "
        "trained on them, its metrics are too good\n"
    ) in done.stderr


def test_a_class_that_the_model_does_not_know_is_named(
    reproduced_template: Project, tmp_path: Path
) -> None:
    save_test_images(reproduced_template, tmp_path / "scans", "0{}")
    model = ("models/exported/model.onnx", "--source", str(tmp_path / "scans"))
    done = reproduced_template.run("reprovision", "evaluate", *model, check=False)
    assert done.returncode == 1
    assert "has the class 00, which the model does not know: its classes are 0, 1" in done.stderr
    assert done.stderr.endswith("; did you mean 0?\n")
    assert done.stderr.count("\n") == 1


def test_a_damaged_image_is_named(reproduced_template: Project, tmp_path: Path) -> None:
    count = save_test_images(reproduced_template, tmp_path / "scans")
    (tmp_path / "scans" / "7" / "new.png").write_bytes(b"none")
    model = ("models/exported", "--source", str(tmp_path / "scans"))
    done = reproduced_template.run("reprovision", "evaluate", *model, check=False)
    assert done.returncode == 1
    assert f"1 of {count + 1} images can't be read: " in done.stderr
    assert "7/new.png (" in done.stderr


@pytest.mark.slow
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


@pytest.mark.slow
def test_images_set_apart_are_those_of_the_chosen_classes(
    reproduced: Project, tmp_path: Path
) -> None:
    reproduced.set_params(**{"data.classes": ["7", "1"]})
    reproduced.repro()
    arguments = ("--source", "data/digits.yaml", "--set-apart", "--out", str(tmp_path / "out"))
    reproduced.run("reprovision", "evaluate", *arguments)
    found = json.loads((tmp_path / "out" / "test.json").read_text())
    assert found == pytest.approx(reproduced.json("results/test.json"), abs=2e-5)
