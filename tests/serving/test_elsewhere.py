"""The exported model elsewhere, as docs/serving.md and Dockerfile have it: the same classes."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from PIL import Image
from project import ROOT, Project
from servers import free_port

DOCS = ROOT / "docs/serving.md"
DOCKERFILE = ROOT / "Dockerfile"
NEEDS_NODE = pytest.mark.skipif(
    not (shutil.which("node") and shutil.which("npm")), reason="needs Node.js with npm"
)


@pytest.fixture
def exported(reproduced_template: Project, tmp_path: Path) -> Path:
    """A folder with what the export stage wrote, and the pixels of all test images."""
    folder = tmp_path / "exported"
    shutil.copytree(reproduced_template.root / "models/exported", folder)
    shutil.copy(reproduced_template.root / "data/prepared/test/images.npy", folder)
    return folder


@pytest.fixture
def expected(reproduced_template: Project) -> pd.DataFrame:
    """What the pipeline predicts for them."""
    table = pd.read_csv(
        reproduced_template.root / "results/predictions.csv", dtype={"predicted": str}
    )
    assert len(table) == 300
    return table


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment that the first stage of Dockerfile makes from the files that it copies."""
    build, _ = stages()
    context, venv = tmp_path_factory.mktemp("context"), tmp_path_factory.mktemp("opt") / "venv"
    for name in sources(build):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, context / name)
    (install,) = re.findall(r"^RUN (uv .*)", build, re.MULTILINE)
    run("sh", "-c", install.replace("/opt/reprovision", str(venv)), cwd=context)
    return venv


def block(heading: str, language: str) -> str:
    """The only block of code in a language under a heading of the documentation."""
    section = DOCS.read_text("utf-8").split(f"\n### {heading}\n")[1].split("\n##")[0]
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return str(found)


def run(*command: str | Path, cwd: Path) -> str:
    """What a command prints outside of the environment of the tests."""
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def assert_same(printed: str, expected: pd.DataFrame) -> None:
    """Whether lines of class and probability are those of the pipeline."""
    lines = [line.split() for line in printed.splitlines()]
    assert [name for name, _ in lines] == list(expected.predicted)
    assert [float(p) for _, p in lines] == pytest.approx(list(expected.confidence), abs=1e-5)


@pytest.mark.slow
@pytest.mark.ci
def test_python_needs_numpy_and_onnxruntime_only(exported: Path, expected: pd.DataFrame) -> None:
    run("uv", "venv", "--quiet", "venv", cwd=exported)
    run("uv", "pip", "install", "--quiet", "-p", "venv", "numpy", "onnxruntime", cwd=exported)
    (exported / "classify.py").write_text(block("Python", "python"))
    assert_same(run("venv/bin/python", "classify.py", cwd=exported), expected)


@NEEDS_NODE
@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("package", ["onnxruntime-node", "onnxruntime-web"])
def test_javascript_gives_the_same_classes(
    exported: Path, expected: pd.DataFrame, package: str
) -> None:
    install, script = (
        block("JavaScript", language).replace("onnxruntime-node", package)
        for language in ("sh", "js")
    )
    run("sh", "-c", install, cwd=exported)
    (exported / "classify.mjs").write_text(script)
    (exported / "pixels.bin").write_bytes(np.load(exported / "images.npy").tobytes())
    assert_same(run("node", "classify.mjs", cwd=exported), expected)


def test_triton_is_told_the_names_types_and_shapes_of_the_model(exported: Path) -> None:
    session = onnxruntime.InferenceSession(exported / "model.onnx")
    config = block("Triton Inference Server and KServe", "pbtxt")
    types = {"tensor(uint8)": "TYPE_UINT8", "tensor(float)": "TYPE_FP32"}
    for kind, (tensor,) in (("input", session.get_inputs()), ("output", session.get_outputs())):
        line = rf'^{kind} \[ {{ name: "(\w+)" data_type: (\w+) dims: (\[ [\d, ]+ \]) }} \]$'
        ((name, data_type, dims),) = re.findall(line, config, re.MULTILINE)
        assert (name, data_type) == (tensor.name, types[tensor.type])
        assert ["N", *json.loads(dims)] == tensor.shape


def test_the_image_is_built_from_no_other_files_than_docker_gets() -> None:
    kept = [n[1:] for n in (ROOT / ".dockerignore").read_text().split("\n") if n.startswith("!")]
    copied = [source for stage in stages() for source in sources(stage)]
    assert sorted(copied) == sorted(kept)


@pytest.mark.slow
@pytest.mark.ci
def test_what_the_image_installs_answers_without_torch(
    exported: Path, expected: pd.DataFrame, installed: Path
) -> None:
    listed = run("uv", "pip", "list", "-p", installed, "--format", "json", cwd=exported)
    names = {package["name"] for package in json.loads(listed)}
    assert "reprovision" in names and not names & {"torch", "mlflow", "dvc"}
    files = [exported / f"{number:04}.png" for number in range(len(expected))]
    for file, pixels in zip(files, np.load(exported / "images.npy"), strict=True):
        Image.fromarray(pixels[0]).save(file)
    command = (installed / "bin/reprovision", "predict", "--csv", "--top", "1", "--model", exported)
    header, *rows = run(*command, *files, cwd=exported).splitlines()
    assert header == "image,predicted,confidence"
    assert_same("\n".join(" ".join(row.split(",")[1:]) for row in rows), expected)


@pytest.mark.slow
@pytest.mark.ci
def test_the_service_of_the_image_passes_its_health_check(exported: Path, installed: Path) -> None:
    _, image = stages()
    ((check, command),) = re.findall(r"^HEALTHCHECK .*?CMD (\[.*\])\nCMD (\[.*\])$", image, re.M)
    port = str(free_port())
    check, command = (json.loads(c.replace("8000", port)) for c in (check, command))
    shutil.copytree(exported, exported / "models/exported")
    env = os.environ | {"PATH": f"{installed / 'bin'}:{os.environ['PATH']}"}
    service = subprocess.Popen(command, cwd=exported, env=env)
    try:
        deadline = time.monotonic() + 60
        while subprocess.run(check, env=env, stderr=subprocess.DEVNULL, check=False).returncode:
            assert service.poll() is None, "the service has ended"
            assert time.monotonic() < deadline, "the service does not answer"
    finally:
        service.terminate()
        assert service.wait(60) in (0, -signal.SIGTERM)


def stages() -> list[str]:
    """The stages of Dockerfile, with one line per instruction."""
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    return text.split("\nFROM ")[1:]


def sources(stage: str) -> list[str]:
    """The files and folders that a stage copies into the image."""
    copies = re.findall(r"^COPY (?!--from)(.*) \S+$", stage, re.MULTILINE)
    return [name for names in copies for name in names.split()]
