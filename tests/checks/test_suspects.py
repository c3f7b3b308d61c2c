"""`reprovision suspects`: labels that the model contradicts."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from project import Project, tiny_params

from reprovision.checks.suspects import find_suspects
from reprovision.data.dataset import load_info, load_origins, load_split
from reprovision.results import layout
from reprovision.results.predictions import read_predictions
from reprovision.serving.predictor import Predictor
from reprovision.sources import open_source
from reprovision.sources.prepare import prepare


def test_suspects_of_test_are_the_errors_that_the_pipeline_has_written(
    reproduced_template: Project,
) -> None:
    root = reproduced_template.root
    classes = load_info(root / layout.PREPARED).classes
    expected = read_predictions(root / layout.PREDICTIONS, classes)
    found = find_suspects(Predictor(root / layout.ONNX_MODEL), root / layout.PREPARED)
    errors = {expected.origins[row] for row in np.flatnonzero(~expected.correct)}
    assert errors and {s.image for s in found if s.split == "test"} == errors
    margins = [s.confidence - s.probability_of_label for s in found]
    assert margins == sorted(margins, reverse=True)


def test_a_wrong_label_comes_first(reproduced_template: Project, tmp_path: Path) -> None:
    root = reproduced_template.root
    predictor = Predictor(root / layout.ONNX_MODEL)
    test = load_split(root / layout.PREPARED, "test")
    probabilities = predictor.probabilities(test.images)
    given = probabilities[np.arange(len(test)), test.labels]
    row = int(given.argmax())
    origin = load_origins(root / layout.PREPARED, "test")[row]
    source = open_source(root / "data" / "digits.yaml", tmp_path)
    labels = source.train.labels.copy()
    wrong = int(probabilities[row].argmin())
    labels[int(origin.removeprefix("digits/"))] = wrong
    changed = replace(source, train=replace(source.train, labels=labels))
    prepare(changed, tiny_params(**{"data.limit": None}).data, tmp_path / "out")
    first = find_suspects(predictor, tmp_path / "out")[0]
    assert (first.image, first.label) == (origin, str(wrong))
    assert first.predicted == str(test.labels[row])


def test_the_command_lists_counts_and_writes_what_is_asked_for(reproduced: Project) -> None:
    asked = ("--top", "5", "--csv", "suspects.csv", "--picture", "suspects.png")
    lines = reproduced.run("reprovision", "suspects", *asked).stdout.splitlines()
    assert [line.split(":")[0] for line in lines[:3]] == ["train", "val", "test"]
    assert len(lines) == 8
    with (reproduced.root / "suspects.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    counts = [int(line.split("contradicts ")[1].split(" of")[0]) for line in lines[:3]]
    assert len(rows) == sum(counts)
    for line, row in zip(lines[3:], rows, strict=False):
        assert line.startswith(f"{row['split']:<5} {row['label']} → {row['predicted']} ")
        assert line.endswith(row["image"])
    Image.open(reproduced.root / "suspects.png").load()


def test_a_model_of_other_images_is_refused(reproduced: Project) -> None:
    reproduced.run("dvc", "exp", "run", "-S", "data.image_size=12", "prepare")
    done = reproduced.run("reprovision", "suspects", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: models/exported/model.onnx was not trained on data/prep")
