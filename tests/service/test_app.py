"""Answers that take long to write, and the end of the service, in this process."""

import asyncio
import io
import threading
import time
from pathlib import Path

import httpx
import pytest
from local_service import make_client, write_model
from PIL import Image

from reprovision.service import app
from reprovision.service.app import make_app
from reprovision.service.models import FileModels
from reprovision.service.service import Limits, Service


def test_an_answer_that_takes_long_to_write_delays_no_other_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(pixels: object) -> str:
        time.sleep(0.5)
        return "data:"

    monkeypatch.setattr(app, "as_png", slow)
    write_model(tmp_path / "model.onnx")
    service = Service(FileModels(tmp_path / "model.onnx"), Limits())
    content = io.BytesIO()
    Image.new("L", (28, 28)).save(content, "PNG")

    async def ask() -> float:
        """Seconds of the slowest look at /health during a prediction."""
        transport = httpx.ASGITransport(make_app(service))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            headers = {"Content-Type": "image/png"}
            post = client.post("/predict?pixels=true", content=content.getvalue(), headers=headers)
            answer, slowest = asyncio.create_task(post), 0.0
            while not answer.done():
                start = time.perf_counter()
                await client.get("/health")
                await asyncio.sleep(0.01)
                slowest = max(slowest, time.perf_counter() - start)
            assert (await answer).json()["predictions"][0]["pixels"] == "data:"
            return slowest

    async def run() -> float:
        async with service.running():
            return await ask()

    assert asyncio.run(run()) < 0.4


def test_its_end_does_not_wait_for_an_image_that_takes_long(tmp_path: Path) -> None:
    write_model(tmp_path / "model.onnx")
    service = Service(FileModels(tmp_path / "model.onnx"), Limits())
    done = threading.Event()

    async def run() -> float:
        async with service.running():
            service.decoders.submit(done.wait, 5)
            start = time.perf_counter()
        return time.perf_counter() - start

    try:
        assert asyncio.run(run()) < 2
    finally:
        done.set()


def test_a_request_of_invalid_params_is_counted(tmp_path: Path) -> None:
    write_model(tmp_path / "model.onnx")
    with make_client(tmp_path / "model.onnx") as client:
        assert client.post("/predict?top=0", content=b"x").status_code == 422
        assert 'reprovision_requests_total{status="422"} 1.0' in client.get("/metrics").text


def test_the_page_may_not_be_given_another_base(tmp_path: Path) -> None:
    write_model(tmp_path / "model.onnx")
    with make_client(tmp_path / "model.onnx") as client:
        policy = client.get("/").headers["Content-Security-Policy"]
    # unlike the others, it has no default
    assert "base-uri 'none'" in policy


def test_a_service_that_no_longer_predicts_is_not_ready(tmp_path: Path) -> None:
    write_model(tmp_path / "model.onnx")
    service = Service(FileModels(tmp_path / "model.onnx"), Limits())

    async def work() -> tuple[bool, bool, bool]:
        before = service.is_ready
        async with service.running():
            during = service.is_ready
            service.tasks[0].cancel()
            await asyncio.wait(service.tasks)
            return before, during, service.is_ready

    assert asyncio.run(work()) == (False, True, False)
