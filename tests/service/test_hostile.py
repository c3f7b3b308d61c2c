"""Whatever is sent to the service: never an error of its own, a hang, or growing memory."""

import io
import random
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image
from project import Project
from service_process import Running, running

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")


@pytest.fixture(scope="module")
def served(reproduced_template: Project) -> Iterator[Running]:
    with running(reproduced_template) as service:
        yield service


@pytest.mark.slow
@pytest.mark.ci
def test_requests_made_from_its_own_description_find_nothing(
    served: Running, environment: dict[str, str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [
            *("schemathesis", "run", f"{served.url}/openapi.json", "--max-examples", "200"),
            # arbitrary bytes are not an image, which no schema can say
            *("--exclude-checks", "positive_data_acceptance", "--generation-deterministic"),
        ],
        cwd=tmp_path,  # where it leaves notes on what it found
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def damaged(dice: random.Random) -> bytes:
    """An image file of any format, of which some bytes are others, missing or repeated."""
    pixels = np.arange(24 * 24 * 3, dtype=np.uint32).reshape(24, 24, 3) % 251
    content = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(content, dice.choice(FORMATS))
    changed = bytearray(content.getvalue())
    for _ in range(dice.choice((0, 1, 1, 3, 20))):
        changed[dice.randrange(len(changed))] = dice.randrange(256)
    start, end = sorted(dice.randrange(len(changed) + 1) for _ in range(2))
    kind = dice.randrange(4)
    if kind == 0:
        return bytes(changed[:end])
    return bytes(changed[:start] + changed[end:] if kind == 1 else changed)


def test_damaged_images_are_answered_or_refused(served: Running) -> None:
    dice, seen = random.Random(0), set()
    for _ in range(300):
        files = [("image", (f"{n}", damaged(dice))) for n in range(dice.choice((1, 1, 3)))]
        params = {name: str(dice.choice((True, False))) for name in ("drawing", "pixels")}
        answer = served.client.post("/predict", files=files, params=params)
        seen.add(answer.status_code)
        assert answer.status_code in (200, 413, 415, 422), answer.text
        assert re.fullmatch(r"application/json", answer.headers["Content-Type"])
    assert {200, 415, 422} <= seen
    assert served.client.get("/ready").status_code == 200


@pytest.mark.slow
@pytest.mark.ci
def test_memory_does_not_grow(served: Running) -> None:
    process = psutil.Process(served.process.pid)

    def work(seed: int) -> float:
        """MiB in use after a thousand requests."""
        dice = random.Random(seed)
        with httpx.Client(base_url=served.url, timeout=60) as client:
            for _ in range(1000):
                content = damaged(dice) + bytes(dice.choice((0, 10**5)))
                headers = {"Content-Type": "image/png"}
                client.post("/predict", content=content, headers=headers)
        return process.memory_info().rss / 2**20

    before = [work(seed) for seed in range(3)][-1]
    after = [work(seed) for seed in range(3, 6)][-1]
    assert after - before < 20
