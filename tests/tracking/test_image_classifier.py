"""The model in MLflow takes what people send, and answers as the pipeline does."""

import base64
import csv
import json
import os
import re
import shutil
import subprocess
import sys
import types
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import project as projects
import pytest
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PyFuncModel
from PIL import Image
from project import ROOT, Project
from servers import free_port, running_server

from reprovision.core.params import load_params
from reprovision.data.dataset import load_split
from reprovision.results import layout
from reprovision.serving.output import most_probable
from reprovision.serving.predictor import Predictor
from reprovision.tracking.log_run import log_run

LAST_DIGIT = 2e-6
"""Of a probability with six digits; PyTorch and ONNX Runtime differ in the seventh."""

SOME = 20


@pytest.fixture(scope="module")
def pixels(reproduced_template: Project) -> np.ndarray:
    """Some test images, uint8 (N, 1, 8, 8)."""
    return np.array(load_split(reproduced_template.root / layout.PREPARED, "test").images[:SOME])


@pytest.fixture(scope="module")
def paths(pixels: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same as PNG files."""
    folder = tmp_path_factory.mktemp("images")
    found = [folder / f"{number}.png" for number in range(len(pixels))]
    for path, image in zip(found, pixels, strict=True):
        Image.fromarray(image[0]).save(path)
    return found


@pytest.fixture
def model(reproduced_template: Project) -> PyFuncModel:
    """The model of the tiny params, loaded from MLflow."""
    mlflow.set_tracking_uri(reproduced_template.store)
    return mlflow.pyfunc.load_model("models:/digits/1")


@pytest.fixture(scope="module")
def without_project(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which neither torch nor this package can be imported, nor pickles read."""
    folder = tmp_path_factory.mktemp("blocked")
    for name in ("torch", "reprovision"):
        (folder / f"{name}.py").write_text("raise ImportError('blocked')")
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder),
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def in_base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def check_answers(project: Project, answers: Sequence[Mapping[str, Any]], count: int) -> None:
    """Compares answers for the first test images with predictions.csv."""
    with (project.root / layout.PREDICTIONS).open(encoding="utf-8", newline="") as file:
        expected = list(csv.DictReader(file))[:count]
    assert [answer["predicted"] for answer in answers] == [row["predicted"] for row in expected]
    for answer, row in zip(answers, expected, strict=True):
        probabilities = answer["probabilities"]
        assert answer["confidence"] == pytest.approx(float(row["confidence"]), abs=LAST_DIGIT)
        assert answer["confidence"] == probabilities[answer["predicted"]]
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert list(probabilities) == [str(digit) for digit in range(10)]
        assert all(float(f"{value:.6g}") == value for value in probabilities.values())


# ---- loaded in Python

ONE: dict[str, Callable[[Path], Any]] = {
    "path": str,
    "Path": Path,
    "content": Path.read_bytes,
    "base64": in_base64,
}

MANY: dict[str, Callable[[list[Path], np.ndarray], Any]] = {
    "paths": lambda paths, pixels: [str(path) for path in paths],
    "contents": lambda paths, pixels: [path.read_bytes() for path in paths],
    "an array of paths": lambda paths, pixels: np.array([str(path) for path in paths]),
    "a column of paths": lambda paths, pixels: pd.DataFrame({"image": paths}),
    "a series of contents": lambda paths, pixels: pd.Series([path.read_bytes() for path in paths]),
    "pixels": lambda paths, pixels: pixels,
    "named pixels": lambda paths, pixels: {"pixels": pixels},
    "lists of pixels": lambda paths, pixels: pixels.tolist(),
    "paths and pixels": lambda paths, pixels: [*paths[:5], *pixels[5:]],
}


@pytest.mark.parametrize("kind", ONE)
def test_one_image_gets_the_answer_of_the_pipeline(
    kind: str, model: PyFuncModel, paths: list[Path], reproduced_template: Project
) -> None:
    answers = model.predict(ONE[kind](paths[0])).to_dict("records")
    check_answers(reproduced_template, answers, count=1)


@pytest.mark.parametrize("kind", MANY)
def test_many_images_get_the_answers_of_the_pipeline(
    kind: str,
    model: PyFuncModel,
    paths: list[Path],
    pixels: np.ndarray,
    reproduced_template: Project,
) -> None:
    answers = model.predict(MANY[kind](paths, pixels)).to_dict("records")
    check_answers(reproduced_template, answers, count=SOME)


def test_the_input_example_is_an_image_that_the_model_takes(
    model: PyFuncModel, reproduced_template: Project
) -> None:
    assert str(model.metadata.signature.inputs) == "[binary (required)]"
    answers = model.predict(model.input_example).to_dict("records")
    check_answers(reproduced_template, answers, count=1)


def test_a_photo_is_preprocessed_as_everywhere(
    model: PyFuncModel, reproduced_template: Project, tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 30, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise).save(tmp_path / "photo.jpg", exif=exif)
    predictor = Predictor(reproduced_template.root / layout.ONNX_MODEL)
    expected = predictor.predict(tmp_path / "photo.jpg")
    (answer,) = model.predict(tmp_path / "photo.jpg").to_dict("records")
    assert answer["probabilities"] == dict(most_probable(predictor.classes, expected, 10))


def test_a_module_of_the_caller_does_not_get_in_the_way(
    reproduced_template: Project, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "preprocessing", types.ModuleType("preprocessing"))
    searched = list(sys.path)
    mlflow.set_tracking_uri(reproduced_template.store)
    loaded = mlflow.pyfunc.load_model("models:/digits/1")
    check_answers(reproduced_template, loaded.predict(paths).to_dict("records"), SOME)
    assert sys.path == searched


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        (["nowhere.png"], "image 1: there is no file nowhere.png, and it is not base64"),
        ([np.zeros((1, 8, 8), int), b"%PDF-1.7"], "image 2: it is a PDF document"),
        (np.zeros((1, 1, 9, 8), np.uint8), "image 1: pixels must have the shape (1, 8, 8), not"),
        (
            np.full((1, 1, 8, 8), 0.5),
            "image 1: pixels must be integers from 0 to 255",
        ),
        (
            np.full((1, 1, 8, 8), 256),
            "image 1: pixels must be integers from 0 to 255",
        ),
        (
            np.full((1, 1, 8, 8), -1),
            "image 1: pixels must be integers from 0 to 255",
        ),
        ([[[1, 2], [3]]], "image 1: pixels must be numbers of the shape (1, 8, 8)"),
        ([None], "image 1: pixels must have the shape (1, 8, 8), not ()"),
        (7, "images must be a list"),
        (pd.DataFrame({"a": ["x"], "b": ["y"]}), "images must be in one column, alone"),
    ],
)
def test_what_is_no_image_is_named(model: PyFuncModel, images: Any, reason: str) -> None:
    with pytest.raises(MlflowException) as refused:
        model.predict(images)
    assert str(refused.value).startswith(reason)
    assert refused.value.get_http_status_code() == 400


# ---- elsewhere


def test_a_logged_model_holds_no_pickle_and_requires_four_packages(
    reproduced: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    (reproduced.root / "mlflow.db").unlink()
    shutil.rmtree(reproduced.root / "mlartifacts")
    # which `uv sync` leaves; MLflow would make all of it a requirement
    (reproduced.root / "uv.lock").write_text("version = 1\n")
    monkeypatch.chdir(reproduced.root)
    log_run(load_params(), "key")

    (metadata,) = (reproduced.root / "mlartifacts" / "models").rglob("MLmodel")
    folder = metadata.parent
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    described = {"MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt"}
    examples = {"input_example.json", "serving_input_example.json"}
    needed = {"image_classifier.py", "artifacts/model.onnx", "artifacts/preprocessing.py"}
    assert files == described | examples | needed
    requirements = (folder / "requirements.txt").read_text().splitlines()
    names = [line.partition("==")[0] for line in requirements]
    assert names == ["mlflow", "numpy", "onnxruntime", "pillow"]


def test_a_model_is_loaded_without_pickle_torch_and_this_package(
    reproduced_template: Project, paths: list[Path], without_project: dict[str, str]
) -> None:
    code = (
        "import sys, mlflow.pyfunc\n"
        "model = mlflow.pyfunc.load_model('models:/digits/1')\n"
        "print(model.predict(sys.argv[1:]).to_json(orient='records', double_precision=15))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, paths)],
        env=without_project | {"MLFLOW_TRACKING_URI": reproduced_template.store},
        capture_output=True,
        text=True,
        check=True,
    )
    check_answers(reproduced_template, json.loads(done.stdout), SOME)


@pytest.fixture(scope="module")
def served(
    reproduced_template: Project,
    without_project: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """The address of a server of the champion."""
    folder = tmp_path_factory.mktemp("served")
    project = projects.copy(reproduced_template, folder / "project")
    project.mlflow().set_registered_model_alias("digits", "champion", "1")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = ["mlflow", "models", "serve", "-m", "models:/digits@champion"]
    command += ["--env-manager", "local", "--port", str(port)]
    environment = without_project | {"MLFLOW_TRACKING_URI": project.store}
    with running_server(command, address, folder, environment):
        yield address


def ask(address: str, inputs: Any) -> Any:
    """What a server answers to images."""
    content = json.dumps({"inputs": inputs}).encode()
    request = urllib.request.Request(
        f"{address}/invocations", content, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)["predictions"]


@pytest.mark.slow
@pytest.mark.ci
def test_a_server_takes_image_files_and_pixels(
    served: str, paths: list[Path], pixels: np.ndarray, reproduced_template: Project
) -> None:
    from_files = ask(served, [in_base64(path) for path in paths])
    check_answers(reproduced_template, from_files, SOME)
    assert ask(served, pixels.tolist()) == from_files


@pytest.mark.slow
@pytest.mark.ci
def test_a_server_opens_no_paths(served: str, paths: list[Path]) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(served, [str(paths[0])])
    assert refused.value.code == 400
    message = json.load(refused.value)["message"]
    assert message.endswith("image 1: it is not base64")


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_the_requests_in_the_docs_get_answers(served: str, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "tracking.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    of_file, of_pixels = (code for kind, code in blocks if kind == "sh" and "curl" in code)
    (shown,) = next(json.loads(code)["predictions"] for kind, code in blocks if kind == "json")
    content = of_pixels[of_pixels.index("{") : of_pixels.rindex("}") + 1]
    pixels = np.array(json.loads(content)["inputs"], np.uint8)
    Image.fromarray(pixels[0, 0]).save(tmp_path / "scan-1.png")

    answers = [
        subprocess.run(
            ["bash", "-c", command.replace("http://127.0.0.1:5001", served)],
            cwd=tmp_path,
            capture_output=True,
            check=True,
        ).stdout
        for command in (of_file, of_pixels)
    ]
    assert answers[0] == answers[1]
    (answer,) = json.loads(answers[0])["predictions"]
    assert answer["predicted"] == shown["predicted"]
    assert list(answer) == list(shown)
    assert list(answer["probabilities"]) == list(shown["probabilities"])
