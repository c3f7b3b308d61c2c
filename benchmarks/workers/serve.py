"""`reprovision serve` under load over loopback, against ONNX Runtime on pixels in memory."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

import numpy as np
import onnxruntime

from reprovision.images.preprocessing import preprocess
from reprovision.serving.predictor import Predictor

BATCH = 32


def load(
    kind: str, folder: str, clients: list[int], rounds: int, seconds: float
) -> dict[str, dict[str, list[float]]]:
    """Of each number of clients, and of ONNX Runtime alone, in turn.

    Returns:
        by number of clients, requests/s and the 50th and 99th percentile of the seconds until an
        answer; for `bare`, images/s.
    """
    files = [file.read_bytes() for file in sorted((Path(folder) / kind).iterdir())]
    path = Path(folder) / f"{kind}.onnx"
    predictor = Predictor(path)
    pixels = np.stack([preprocess(file, predictor.preprocessing) for file in files])
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found: dict[str, dict[str, list[float]]] = {}
    with _service(path) as port:
        for number in range(1 + rounds):
            taken: dict[str, dict[str, float]] = {
                "bare": {"images_per_second": _bare(session, pixels, seconds)}
            }
            for count in clients:
                times = asyncio.run(_ask(port, files, count, seconds))
                taken[f"{count}"] = {
                    "requests": len(times),
                    "requests_per_second": len(times) / seconds,
                    "p50": float(np.percentile(times, 50)),
                    "p99": float(np.percentile(times, 99)),
                }
            # the first round warms up
            if number:
                for case, values in taken.items():
                    for name, value in values.items():
                        found.setdefault(case, {}).setdefault(name, []).append(value)
    return found


@contextmanager
def _service(model: Path) -> Iterator[int]:
    """The service in a process of its own, and its port."""
    code = "from reprovision.cli import main; main()"
    command = [sys.executable, "-c", code, "serve", "--port", "0", "--model", str(model)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        line = process.stdout.readline()
        yield int(line.partition("http://")[2].split()[0].rpartition(":")[2])
    finally:
        process.terminate()
        process.wait()


async def _ask(port: int, files: list[bytes], clients: int, seconds: float) -> list[float]:
    """Seconds until each answer, of clients that send the next request after it."""
    times: list[float] = []
    end = time.perf_counter() + seconds

    async def client(first: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for content in cycle(files[first:] + files[:first]):
            began = time.perf_counter()
            writer.write(
                b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
                b"Content-Length: %d\r\n\r\n" % len(content) + content
            )
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = int(head.lower().partition(b"content-length:")[2].split()[0])
            await reader.readexactly(length)
            now = time.perf_counter()
            # a busy machine may give no answer in a short time
            if now > end and times:
                break
            times.append(now - began)
        writer.close()

    await asyncio.gather(*(client(number % len(files)) for number in range(clients)))
    return times


def _bare(session: onnxruntime.InferenceSession, pixels: np.ndarray, seconds: float) -> float:
    """Images/s of batches of prepared pixels."""
    began, images = time.perf_counter(), 0
    for start in cycle(range(0, len(pixels), BATCH)):
        batch = pixels[start : start + BATCH]
        session.run(None, {"pixels": batch})
        images += len(batch)
        if (taken := time.perf_counter() - began) > seconds:
            break
    return images / taken
