"""`reprovision serve`: answers, limits, a newer model, a graceful end."""

import base64
import io
import os
import shutil
import signal
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from project import Project
from service_process import Running, running

from reprovision.data.dataset import load_split
from reprovision.results import layout
from reprovision.results.predictions import read_predictions


def as_file(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    """Gray pixels, uint8 (H, W), as the content of an image file."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind)
    return content.getvalue()


@pytest.fixture(scope="module")
def images(reproduced_template: Project) -> np.ndarray:
    """The test images of the project, uint8 (N, H, W)."""
    return load_split(reproduced_template.root / layout.PREPARED, "test").images[:, 0]


@pytest.fixture(scope="module")
def served(reproduced_template: Project) -> Iterator[Running]:
    """A service with the model of the digits, for tests that leave it as it is."""
    with running(reproduced_template, "--queue", "20", "--max-body", "1") as service:
        yield service


def metric(service: Running, name: str) -> float:
    lines = service.client.get("/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


# ---- answers


def test_a_form_of_images_gets_the_classes_of_the_pipeline(
    served: Running, images: np.ndarray, reproduced_template: Project
) -> None:
    classes = tuple("0123456789")
    expected = read_predictions(reproduced_template.root / layout.PREDICTIONS, classes)
    files = [("image", (f"{row}.png", as_file(images[row]))) for row in range(8)]
    answer = served.client.post("/predict", files=files).raise_for_status().json()
    assert [found["image"] for found in answer["predictions"]] == [f"{row}.png" for row in range(8)]
    for row, found in enumerate(answer["predictions"]):
        best = found["classes"][0]
        assert best["class"] == expected.classes[expected.predicted[row]]
        assert best["probability"] == pytest.approx(expected.confidence[row], abs=2e-6)
        assert len(found["classes"]) == 10


def test_a_file_can_be_the_body_itself(served: Running, images: np.ndarray) -> None:
    for kind in ("PNG", "BMP", "TIFF"):
        answer = served.client.post(
            "/predict",
            params={"top": 2},
            content=as_file(images[0], kind),
            headers={"Content-Type": f"image/{kind.lower()}"},
        )
        (found,) = answer.raise_for_status().json()["predictions"]
        assert found["image"] == "image" and len(found["classes"]) == 2


def test_what_the_model_sees_is_shown_on_request(served: Running, images: np.ndarray) -> None:
    answer = send(served, as_file(images[3]), pixels="true")
    address = answer.json()["predictions"][0]["pixels"]
    seen = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))
    assert np.array_equal(np.asarray(seen), images[3])


def send(service: Running, content: bytes, **params: str) -> httpx.Response:
    headers = {"Content-Type": "application/octet-stream"}
    return service.client.post("/predict", params=params, content=content, headers=headers)


def test_requests_at_the_same_time_get_their_own_answers_in_batches(
    served: Running, images: np.ndarray
) -> None:
    alone = [send(served, as_file(image)).json()["predictions"] for image in images[:16]]
    before = metric(served, "reprovision_batch_images_count")

    def ask(row: int) -> Any:
        with httpx.Client(base_url=served.url, timeout=60) as client:
            headers = {"Content-Type": "image/png"}
            answer = client.post("/predict", content=as_file(images[row]), headers=headers)
            return answer.json()["predictions"]

    rows = list(islice(cycle(range(16)), 320))
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(ask, rows))
    for row, found in zip(rows, together, strict=True):
        # the last of six digits may depend on the other images of a batch
        assert by_class(found) == pytest.approx(by_class(alone[row]), rel=1e-4, abs=1e-7)
    assert metric(served, "reprovision_batch_images_count") - before < 320


def by_class(predictions: Any) -> dict[str, float]:
    (found,) = predictions
    return {one["class"]: one["probability"] for one in found["classes"]}


def test_status_and_metrics_are_there_for_machines(served: Running, images: np.ndarray) -> None:
    assert served.client.get("/health").json() == {"status": "ok"}
    assert served.client.head("/").status_code == 200
    assert served.client.get("/ready").json() == {"status": "ready"}
    before = metric(served, 'reprovision_requests_total{status="200"}')
    send(served, as_file(images[0]))
    assert metric(served, 'reprovision_requests_total{status="200"}') == before + 1
    assert 'name="models/exported/model.onnx"' in served.client.get("/metrics").text
    paths = served.client.get("/openapi.json").json()["paths"]
    assert set(paths) == {"/predict", "/model", "/health", "/ready", "/metrics"}


def test_the_process_needs_neither_torch_nor_mlflow(reproduced_template: Project) -> None:
    code = (
        "import sys; from reprovision.service.app import make_app; "
        "from reprovision.service.models import FileModels; "
        "from reprovision.service.service import Limits, Service; from pathlib import Path; "
        "make_app(Service(FileModels(Path('models/exported')), Limits())); "
        "print({'torch', 'mlflow', 'scipy', 'matplotlib'} & set(sys.modules))"
    )
    assert reproduced_template.run("python", "-c", code).stdout.strip() == "set()"


# ---- limits


def test_a_body_beyond_the_limit_is_refused_declared_or_not(served: Running) -> None:
    large = bytes(2**20 + 1)
    assert send(served, large).status_code == 413

    def in_pieces() -> Iterator[bytes]:
        yield from (bytes(2**16) for _ in range(17))

    headers = {"Content-Type": "image/png"}
    answer = served.client.post("/predict", content=in_pieces(), headers=headers)
    assert answer.status_code == 413
    assert answer.json() == {"detail": "the body is larger than 1 MiB"}


def bomb() -> bytes:
    """A small PNG that says to have 60,000 x 60,000 pixels."""
    content = bytearray(as_file(np.zeros((4, 4), np.uint8)))
    content[16:24] = struct.pack(">II", 60_000, 60_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "status", "reason"),
    [
        (bomb(), 413, "pixels"),
        (as_file(np.zeros((9000, 9000), np.uint8)), 413, "9000x9000 pixels are more than"),
        (b"%PDF-1.7", 415, "a PDF document"),
        (b"no image at all", 415, "not an image"),
        (as_file(np.zeros((64, 64), np.uint8))[:-30], 422, "image: "),
        (b"", 422, "empty"),
    ],
)
def test_what_is_not_a_readable_image_is_refused_in_a_sentence(
    served: Running, content: bytes, status: int, reason: str
) -> None:
    answer = send(served, content)
    assert answer.status_code == status, answer.text
    assert reason in answer.json()["detail"]


def test_each_unreadable_image_of_a_form_is_named(served: Running, images: np.ndarray) -> None:
    files = [
        ("image", ("good.png", as_file(images[0]))),
        ("image", ("bad\x1b.png", b"%PDF-1.7")),
        ("image", ("cut.png", as_file(images[0])[:-30])),
    ]
    answer = served.client.post("/predict", files=files)
    assert answer.status_code == 415
    assert "cut.png" in answer.json()["detail"] and "good.png" not in answer.json()["detail"]
    assert "\x1b" not in answer.json()["detail"]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"data": {"image": "text"}}, 422),
        ({"content": b"{}", "headers": {"Content-Type": "application/json"}}, 415),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 422),
        ({"params": {"top": 0}, "content": b"", "headers": {"Content-Type": "image/png"}}, 422),
    ],
)
def test_another_request_is_refused_in_a_sentence(
    served: Running, request_: dict, status: int
) -> None:
    if "data" in request_:
        request_ = {"files": {"image": (None, "text")}}
    answer = served.client.post("/predict", **request_)
    assert answer.status_code == status
    assert isinstance(answer.json()["detail"], str)


def test_images_beyond_the_queue_are_refused_for_now(served: Running, images: np.ndarray) -> None:
    files = [("image", (f"{n}.png", as_file(images[0]))) for n in range(20)]
    assert served.client.post("/predict", files=files).status_code == 200
    refusal = served.client.post("/predict", files=[*files, files[0]])
    assert refusal.status_code == 413
    assert refusal.json() == {"detail": "more than 20 images: send fewer at a time"}
    # a request that never ends holds a place
    with hanging(served, 1):
        answer = served.client.post("/predict", files=files)
        assert answer.status_code == 429 and answer.headers["Retry-After"] == "1"
    with hanging(served, 20):
        assert served.client.get("/ready").status_code == 503
        assert send(served, as_file(images[0])).status_code == 429
        assert served.client.get("/health").status_code == 200
    wait_until(lambda: served.client.get("/ready").status_code == 200)


@contextmanager
def hanging(service: Running, count: int) -> Iterator[None]:
    """Requests whose bodies do not arrive within the block."""
    with ExitStack() as opened:
        for _ in range(count):
            opened.enter_context(begun(service, 1000)).sendall(b"abc")
        wait_until(lambda: metric(service, "reprovision_images_under_way") == count)
        yield


def begun(service: Running, length: int) -> socket.socket:
    """The connection of a request for a prediction, of which the body is still to be sent."""
    host, port = service.url.removeprefix("http://").split(":")
    opened = socket.create_connection((host, int(port)), timeout=30)
    opened.sendall(
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
        b"Content-Length: %d\r\n\r\n" % length
    )
    return opened


def wait_until(condition, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_request_that_takes_too_long_is_ended(reproduced_template: Project) -> None:
    with (
        running(reproduced_template, "--timeout", "0.5") as service,
        begun(service, 1000) as opened,
    ):
        opened.sendall(b"abc")
        answer = ""
        while "}" not in answer and (part := opened.recv(10_000)):
            answer += part.decode()
    assert answer.startswith("HTTP/1.1 503") and "it took longer than 0.5 s" in answer


# ---- the model in use


def test_a_newer_file_is_taken_up_without_a_restart(
    reproduced: Project, images: np.ndarray, tmp_path: Path
) -> None:
    model = tmp_path / "model.onnx"
    shutil.copy(reproduced.root / layout.ONNX_MODEL, model)
    with running(reproduced, "--model", str(model), "--follow", "--follow-seconds", "0.1") as now:
        first = now.client.get("/model").json()["version"]
        model.write_bytes(b"not a model")
        # some looks at it
        time.sleep(0.5)
        assert send(now, as_file(images[0])).status_code == 200
        new = tmp_path / "new.onnx"
        new.write_bytes((reproduced.root / layout.ONNX_MODEL).read_bytes())
        new.replace(model)
        wait_until(lambda: now.client.get("/model").json()["version"] != first)
        assert send(now, as_file(images[0])).status_code == 200
        output = now.stop()
    assert output.count("warning: still answering with the previous model") == 1
    assert "now answering with version" in output


def test_a_new_champion_is_taken_up_without_a_restart(swept: Project, images: np.ndarray) -> None:
    swept.run("reprovision", "promote", "1", "--force")
    name = "models:/digits@champion"
    arguments = ("--model", name, "--follow", "--follow-seconds", "0.2")
    with running(swept, *arguments) as service:
        assert service.client.get("/model").json()["version"] == "1"
        before = send(service, as_file(images[0])).json()["predictions"]
        swept.run("reprovision", "promote", "3", "--force")
        wait_until(lambda: service.client.get("/model").json()["version"] == "3")
        assert send(service, as_file(images[0])).json()["predictions"] != before


def test_without_a_model_it_says_what_to_do(project: Project) -> None:
    assert "run `uv run dvc repro`" in project.refused("reprovision", "serve")


def test_an_address_in_use_is_named(served: Running, reproduced_template: Project) -> None:
    port = served.url.rpartition(":")[2]
    message = reproduced_template.refused("reprovision", "serve", "--port", port)
    assert f"127.0.0.1:{port} can't be used" in message


# ---- its end


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_what_is_under_way_is_answered_before_it_ends(
    reproduced_template: Project, images: np.ndarray, how: signal.Signals
) -> None:
    content = as_file(images[0])
    with running(reproduced_template) as service:
        with begun(service, len(content)) as opened:
            opened.sendall(content[:10])
            wait_until(lambda: metric(service, "reprovision_images_under_way") == 1)
            os.killpg(service.process.pid, how)
            time.sleep(0.3)
            opened.sendall(content[10:])
            answer = b""
            while part := opened.recv(10_000):
                answer += part
        output, _ = service.process.communicate(timeout=30)
    assert answer.startswith(b"HTTP/1.1 200") and b"predictions" in answer
    assert "Traceback" not in output
