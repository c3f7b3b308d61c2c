"""Training in several processes, timed by the first."""

import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.workers.ours import head
from benchmarks.workers.params import params_of
from reprovision.data.dataset import load_info, load_split
from reprovision.training import loop
from reprovision.training.launch import connect, launch


def train(recipe: str, prepared: str, processes: int, images: int) -> dict[str, float]:
    """One epoch over the first images, with one thread for each worker."""
    with TemporaryDirectory() as folder:
        output = Path(folder) / "seconds.json"
        values = {"recipe": recipe, "prepared": prepared, "processes": processes}
        given = values | {"images": images, "output": str(output)}
        launch(processes, "-m", "benchmarks.process", "distributed.work", json.dumps(given))
        return {"images_per_second": images / json.loads(output.read_text())}


def work(recipe: str, prepared: str, processes: int, images: int, output: str) -> None:
    """What each of the workers does."""
    params = params_of(recipe, train__threads=1, train__processes=processes, train__epochs=1)
    train, val = (load_split(prepared, name) for name in ("train", "val"))
    with connect(processes) as workers:
        state = loop.start(params, load_info(prepared), workers)
        began = time.perf_counter()
        loop.train(state, head(train, images), head(val, 1), params, workers=workers)
        if workers.is_first:
            Path(output).write_text(json.dumps(time.perf_counter() - began))
