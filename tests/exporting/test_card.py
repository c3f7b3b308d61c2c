"""The model card is true, and its code runs for somebody who has only the exported folder."""

import csv
import re
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image
from project import Project

from reprovision.data.dataset import load_split
from reprovision.images.preprocessing import Preprocessing, preprocess


def test_its_code_predicts_the_same_as_the_pipeline(
    reproduced_template: Project, tmp_path: Path
) -> None:
    test = load_split(reproduced_template.root / "data/prepared", "test")
    row = read_csv(reproduced_template.root / "results/predictions.csv")[0]
    copy_model(reproduced_template, tmp_path)
    Image.fromarray(test.images[0, 0]).save(tmp_path / "image.png")
    name, probability = run_code(reproduced_template, tmp_path).split()
    assert name == row["predicted"]
    assert abs(float(probability) - float(row["confidence"])) < 1e-4


@pytest.mark.slow
def test_with_flip_the_predictions_the_exported_model_and_the_card_agree(
    reproduced: Project, tmp_path: Path
) -> None:
    before = read_csv(reproduced.root / "results/predictions.csv")
    reproduced.set_params(**{"evaluate.flip": True})
    output = reproduced.repro().stdout
    assert "Stage 'train' didn't change" in output
    rows = read_csv(reproduced.root / "results/predictions.csv")
    assert rows != before
    test = load_split(reproduced.root / "data/prepared", "test")
    session = onnxruntime.InferenceSession(reproduced.root / "models/exported/model.onnx")
    probabilities = session.run(None, {"pixels": test.images})[0]
    confidence = np.array([float(row["confidence"]) for row in rows])
    assert probabilities.max(1) == pytest.approx(confidence, abs=1e-4)
    assert "mean over an image and its mirror image" in read_card(reproduced)
    copy_model(reproduced, tmp_path)
    Image.fromarray(test.images[0, 0]).save(tmp_path / "image.png")
    name, probability = run_code(reproduced, tmp_path).split()
    assert (name, float(probability)) == (
        rows[0]["predicted"],
        pytest.approx(confidence[0], abs=1e-4),
    )


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "RGBA"), ("JPEG", "RGB")])
def test_its_code_preprocesses_any_image_as_the_pipeline_does(
    reproduced_template: Project, tmp_path: Path, kind: str, mode: str
) -> None:
    copy_model(reproduced_template, tmp_path)
    random = np.random.default_rng(0)
    # transparent in places, wider than high, larger than the network's input
    pixels = random.integers(0, 256, (40, 60, 4), np.uint8)
    image = Image.fromarray(pixels).resize((600, 400)).convert(mode)
    image.save(tmp_path / "image.png", kind)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    prepared = preprocess(tmp_path / "image.png", Preprocessing(8, 8, 1))[None]
    expected = session.run(None, {"pixels": prepared})[0][0]
    name, probability = run_code(reproduced_template, tmp_path).split()
    assert int(name) == expected.argmax()
    assert abs(float(probability) - expected.max()) < 1e-6


def test_its_metrics_are_those_of_the_results(reproduced_template: Project) -> None:
    card = read_card(reproduced_template)
    metrics = reproduced_template.json("results/test.json")
    assert f"| accuracy | {metrics['accuracy']:.2%} (95% interval" in card
    assert f"{metrics['accuracy_low']:.2%} to {metrics['accuracy_high']:.2%}" in card
    assert f"| {metrics['loss']:.4f} |" in card
    assert f"| top-3 accuracy | {metrics['top_k_accuracy']:.2%} |" in card
    assert f"| macro ROC-AUC | {metrics['macro_roc_auc']:.2%} |" in card
    assert f"Over the {metrics['images']} test images" in card
    for row in read_csv(reproduced_template.root / "results/classes.csv"):
        recall = f"{float(row['recall']):.2%}"
        area = f"{float(row['roc_auc']):.2%}"
        cells = rf"^\| {row['name']} \| .* \| {recall} \(.* \| {area} \| {row['images']} \|$"
        assert re.search(cells, card, re.MULTILINE)
    assert reproduced_template.json("results/dataset.json")["sha256"]["test"] in card
    assert "mirror image" not in card


def test_it_leads_back_to_the_commit_that_produced_it(reproduced_template: Project) -> None:
    command = re.search(r"```sh\n(git log .*)\n```", read_card(reproduced_template))
    assert command
    commit = reproduced_template.run(*command[1].split()).stdout.split()[0]
    there = reproduced_template.git("show", f"{commit}:results/predictions.csv")
    assert there == (reproduced_template.root / "results/predictions.csv").read_text().strip()


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read_card(project: Project) -> str:
    return (project.root / "models/exported/README.md").read_text()


def copy_model(project: Project, folder: Path) -> None:
    shutil.copytree(project.root / "models/exported", folder, dirs_exist_ok=True)


def run_code(project: Project, folder: Path) -> str:
    """What the card's Python prints in a folder."""
    code = re.search(r"```python\n(.*?)```", read_card(project), re.DOTALL)
    assert code
    (folder / "use.py").write_text(code[1])
    return project.run("env", "-C", str(folder), "python", "use.py").stdout.strip()
