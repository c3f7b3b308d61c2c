"""Photos through the recipe `photos`."""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np


def write(folder: str, images: int) -> dict[str, float]:
    """Random pictures in FOLDER/{train,test}/{a,b}."""
    from PIL import Image

    random = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in "ab":
            path = Path(folder) / split / name
            path.mkdir(parents=True)
            for number in range(images):
                pixels = random.integers(256, size=(300, 400, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(path / f"{number}.jpg")
    return {"images": 4 * images}


def ours(folder: str, epochs: int | None = None) -> dict[str, float]:
    """Seconds from the files to the predictions, and the accuracy on the test images."""
    from benchmarks.workers.params import params_of
    from reprovision.data.dataset import load_split
    from reprovision.models.inference import score
    from reprovision.sources import open_source
    from reprovision.sources.prepare import prepare
    from reprovision.training import loop

    changes = {} if epochs is None else {"train__epochs": epochs}
    params = params_of("photos", data__source=folder, **changes)
    began = time.perf_counter()
    with TemporaryDirectory() as prepared:
        info = prepare(open_source(folder, Path(prepared)), params.data, Path(prepared))
        state = loop.start(params, info)
        loop.train(state, load_split(prepared, "train"), load_split(prepared, "val"), params)
        found = score(state.saved_model, load_split(prepared, "test"), 32)
    return {"seconds": time.perf_counter() - began, "accuracy": found.accuracy}
