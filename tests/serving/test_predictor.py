"""A model that answers: from an image file the same as the pipeline, without torch."""

import io
import json
import os
import pty
import shlex
import shutil
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import project as projects
import pytest
from conftest import shared
from PIL import Image
from project import ROOT, Project

from reprovision.core.errors import UserError
from reprovision.data.dataset import load_info, load_origins, load_split
from reprovision.images.parallel import BLOCK
from reprovision.images.preprocessing import ImageError
from reprovision.results import layout
from reprovision.results.predictions import Predictions, read_predictions
from reprovision.serving.predictor import Predictor

LAST_DIGIT = 2e-6
"""Of a probability with six digits; PyTorch and ONNX Runtime differ in the seventh."""


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, blank_template: Project) -> Iterator[Project]:
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

    yield from shared(tmp_path_factory, "trained", build)


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
    assert len(expected) == sum(load_info(trained.root / layout.PREPARED).splits["test"].counts)
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


def test_answers_come_in_order_and_do_not_depend_on_other_images(
    trained: Project, photos: Path, tmp_path: Path
) -> None:
    predictor = Predictor(trained.root / layout.ONNX_MODEL, threads=1)
    files = sorted(photos.rglob("*.jpg"))
    (tmp_path / "bad.jpg").write_bytes(b"%PDF-1.7")
    before, bad, *after = predictor.predict_all([files[0], tmp_path / "bad.jpg", *files[1:]])
    assert isinstance(bad, ImageError)
    alone = [Predictor(trained.root / layout.ONNX_MODEL).predict(file) for file in files]
    assert np.array_equal([before, *after], alone)


def test_few_images_are_taken_ahead(trained: Project, photos: Path) -> None:
    predictor, taken = Predictor(trained.root / layout.ONNX_MODEL), count()
    many = (photos / "ant" / "1.jpg" for _, _ in zip(range(1000), taken, strict=False))
    answers = predictor.predict_all(many)
    for _ in range(100):
        next(answers)
    assert next(taken) <= 100 + BLOCK * (os.cpu_count() or 1) + 1


def test_the_command_prints_a_line_per_image_in_columns(trained: Project) -> None:
    expected = results(trained)
    files = [f"photos/{origin}" for origin in expected.origins]
    lines = trained.run("reprovision", "predict", *files).stdout.splitlines()
    width = max(map(len, files))
    for row, line in enumerate(lines):
        name, confidence = expected.classes[expected.predicted[row]], expected.confidence[row]
        assert line.startswith(f"{files[row]:<{width}}  {name}  {confidence:>7.2%}  ")
    assert len({len(line) for line in lines}) == 1


def test_the_command_prints_json(trained: Project, photos: Path) -> None:
    shown = trained.run("reprovision", "predict", "--json", "--top", "1", str(photos / "ant"))
    found = [json.loads(line) for line in shown.stdout.splitlines()]
    assert len(found) == 30
    assert {len(image["classes"]) for image in found} == {1}


def test_the_command_prints_csv_with_the_digits_of_the_pipeline(
    trained: Project, photos: Path
) -> None:
    expected = results(trained)
    files = [str(photos / origin) for origin in expected.origins]
    shown = trained.run("reprovision", "predict", "--csv", "--top", "9", *files).stdout
    table = pd.read_csv(io.StringIO(shown))
    assert list(table) == ["image", "predicted", "confidence", "predicted_2", "confidence_2"]
    assert list(table.image) == files
    assert list(table.predicted) == [expected.classes[index] for index in expected.predicted]
    assert table.confidence.to_numpy() == pytest.approx(expected.confidence, abs=LAST_DIGIT)


def test_the_command_reads_an_image_from_standard_input(trained: Project, photos: Path) -> None:
    image = photos / "ant" / "1.jpg"
    piped = f"cat {shlex.quote(str(image))} | reprovision predict -"
    (name, *answer), (_, *expected) = (
        trained.run(*command).stdout.splitlines()
        for command in (("sh", "-c", piped), ("reprovision", "predict", str(image)))
    )
    assert name == "-"
    assert answer == expected


def test_one_format_at_a_time(trained: Project) -> None:
    done = trained.run("reprovision", "predict", "--json", "--csv", "photo.jpg", check=False)
    assert done.returncode == 2
    assert "exclude each other" in done.stderr


def test_a_reader_that_has_seen_enough_ends_the_command(trained: Project, photos: Path) -> None:
    done = trained.run("sh", "-c", f"reprovision predict {shlex.quote(str(photos))} | head -n 1")
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_a_bar_is_shown_where_only_answers_go_to_a_file(trained: Project, photos: Path) -> None:
    assert "/60 [" in on_a_terminal(trained, "reprovision", "predict", str(photos))
    piped = f"reprovision predict {shlex.quote(str(photos))} | cat"
    assert on_a_terminal(trained, "sh", "-c", piped) == ""


def on_a_terminal(trained: Project, *command: str) -> str:
    """What a command prints to stderr, a terminal, while its output goes to a file."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(ours, (24, 80))
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command, cwd=trained.root, env=trained.env, stdout=output, stderr=theirs
        )
        os.close(theirs)
        shown = b""
        # Linux reports an error, others an end, when nobody writes any more
        with suppress(OSError):
            while read := os.read(ours, 4096):
                shown += read
        os.close(ours)
    assert process.wait() == 0
    return shown.decode()


def test_only_images_of_a_folder_are_taken(trained: Project, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos / "ant", tmp_path / "album")
    for name in (".DS_Store", "Thumbs.db", "README.md", "1.json", "2.mov"):
        (tmp_path / "album" / name).write_text("not an image")
    done = trained.run("reprovision", "predict", str(tmp_path / "album"))
    assert done.stdout.count("\n") == 30
    assert done.stderr == "left out 2 files not named like images (.json, .mov)\n"


def test_without_images_the_command_says_so(trained: Project, tmp_path: Path) -> None:
    assert "there are no images in" in trained.refused("reprovision", "predict", str(tmp_path))
    assert "(there is no such file)" in trained.refused("reprovision", "predict", "nothing.jpg")


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
    assert "1 of 2 images can't be read" in done.stderr
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


def test_it_answers_without_what_takes_seconds_to_import() -> None:
    code = (
        "import sys, reprovision.cli, reprovision.serving.command\n"
        "print({'torch', 'mlflow', 'scipy', 'pandas', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "src", capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
