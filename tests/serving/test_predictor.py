"""A model that answers: from an image file the same as the pipeline, without torch."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import project as projects
import pytest
from conftest import shared
from PIL import Image
from project import ROOT, Project

from reprovision.core.errors import UserError
from reprovision.data.dataset import load_info, load_origins, load_split
from reprovision.results import layout
from reprovision.results.predictions import Predictions, read_predictions
from reprovision.serving.predictor import Predictor

LAST_DIGIT = 2e-6
"""Of a probability with six digits; PyTorch and ONNX Runtime differ in the seventh."""


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, blank_template: Project) -> Project:
    """A project that was trained on photos; change nothing in it."""

    def build(root: Path) -> Project:
        made = projects.copy(blank_template, root)
        take_photos(made.root / "photos")
        made.set_params(
            **{"data.source": "photos", "data.image_size": [12, 16], "data.resize": "pad"},
            **{"data.interpolation": "bicubic", "data.background": "gray"},
        )
        made.repro()
        return made

    return shared(tmp_path_factory, "trained", build)


@pytest.fixture
def photos(trained: Project) -> Path:
    """The photos that it was trained on."""
    return trained.root / "photos"


def take_photos(folder: Path) -> None:
    """Photos of two classes as JPEG, of any size and orientation."""
    random = np.random.default_rng(0)
    for name, colour in (("ant", (170, 90, 60)), ("bee", (200, 180, 40))):
        (folder / name).mkdir(parents=True)
        for number in range(30):
            height, width = random.integers(20, 60, 2)
            noise = random.normal(colour, 60, (height, width, 3)).clip(0, 255)
            exif = Image.Exif()
            exif[0x0112] = 1 + number % 8
            path = folder / name / f"{number}.jpg"
            Image.fromarray(noise.astype(np.uint8)).save(path, exif=exif)


def results(project: Project) -> Predictions:
    classes = load_info(project.root / layout.PREPARED).classes
    return read_predictions(project.root / layout.PREDICTIONS, classes)


def test_a_photo_gets_the_probability_that_the_pipeline_has_written(
    trained: Project, photos: Path
) -> None:
    predictor, expected = Predictor(trained.root / layout.ONNX_MODEL), results(trained)
    assert len(expected) == 12
    for row, origin in enumerate(expected.origins):
        probabilities = predictor.predict(photos / origin)
        assert probabilities.argmax() == expected.predicted[row]
        assert probabilities.max() == pytest.approx(expected.confidence[row], abs=LAST_DIGIT)


def test_a_photo_has_the_pixels_of_training(trained: Project, photos: Path) -> None:
    code = (
        "import json, sys\n"
        "from preprocessing import Preprocessing, preprocess\n"
        "how = Preprocessing(**json.loads(sys.argv[1]))\n"
        "print([preprocess(path, how).tolist() for path in sys.argv[2:]])"
    )
    description = json.dumps(
        json.loads((trained.root / "data/prepared/dataset.json").read_text())["preprocessing"]
    )
    origins = load_origins(trained.root / layout.PREPARED, "test")
    done = subprocess.run(
        [sys.executable, "-c", code, description, *(str(photos / origin) for origin in origins)],
        cwd=trained.root / layout.EXPORTED,
        capture_output=True,
        text=True,
        check=True,
    )
    images = load_split(trained.root / layout.PREPARED, "test").images
    assert json.loads(done.stdout) == images.tolist()


def test_the_command_prints_the_most_probable_classes(trained: Project, photos: Path) -> None:
    expected = results(trained)
    files = [str(photos / origin) for origin in expected.origins]
    lines = trained.run("reprovision", "predict", *files).stdout.splitlines()
    for row, line in enumerate(lines):
        name = expected.classes[expected.predicted[row]]
        assert line.startswith(f"{files[row]}: {name} {expected.confidence[row]:.2%}, ")


def test_the_command_prints_json(trained: Project, photos: Path) -> None:
    shown = trained.run("reprovision", "predict", "--json", "--top", "1", str(photos / "ant"))
    found = [json.loads(line) for line in shown.stdout.splitlines()]
    assert len(found) == 30
    assert {len(image["classes"]) for image in found} == {1}


def test_what_systems_leave_in_a_folder_is_ignored(
    trained: Project, photos: Path, tmp_path: Path
) -> None:
    shutil.copytree(photos / "ant", tmp_path / "album")
    for name in (".DS_Store", "Thumbs.db", "README.md"):
        (tmp_path / "album" / name).write_text("not an image")
    assert trained.run("reprovision", "predict", str(tmp_path / "album")).stdout.count("\n") == 30


def test_the_command_takes_the_champion_of_mlflow(trained: Project, photos: Path) -> None:
    trained.run("reprovision", "promote")
    image = str(photos / "ant" / "1.jpg")
    uri = "models:/photos@champion"
    of_champion, of_workspace = (
        trained.run("reprovision", "predict", *flags, image).stdout
        for flags in (("--model", uri), ())
    )
    assert of_champion == of_workspace


def test_images_that_cannot_be_read_are_named_and_the_others_predicted(
    trained: Project, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"%PDF-1.7")
    good = str(photos / "ant" / "1.jpg")
    done = trained.run("reprovision", "predict", str(tmp_path / "bad.jpg"), good, check=False)
    assert done.returncode == 1
    assert "bad.jpg (it is a PDF document" in done.stderr
    assert done.stdout.startswith(good)


def test_a_missing_or_foreign_model_is_one_sentence(tmp_path: Path, trained: Project) -> None:
    (tmp_path / "model.onnx").write_text("hello")
    with pytest.raises(UserError, match="is not a model of the export stage"):
        Predictor(tmp_path / "model.onnx")
    with pytest.raises(UserError, match=r"there is no .*nothing\.onnx"):
        Predictor(tmp_path / "nothing.onnx")
    assert Predictor(trained.root / layout.EXPORTED).classes == ("ant", "bee")


def test_without_results_the_command_says_how_to_make_some(project: Project) -> None:
    assert "uv run dvc repro" in project.refused("reprovision", "predict", "photo.jpg")


def test_it_answers_without_torch() -> None:
    code = "import sys, reprovision.serving.command; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "src", capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
