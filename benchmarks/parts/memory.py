"""memory: the most that the train stage takes on MNIST."""

import math
import shutil
from pathlib import Path

from benchmarks.data import copy_repository, prepare_mnist, scratch
from benchmarks.process import measure
from benchmarks.samples import Row, Sample, cases, series, spread
from reprovision.recipes import Recipe, load_recipes

TITLE = "Memory of the train stage on MNIST"

LIMIT_MIB = 900

SECONDS = 10
"""Of training: after 5 the stage starts the process that writes to MLflow."""

RECORDER = "the process beside it that writes to MLflow"


def take(toy: bool) -> list[Sample]:
    """The stage as DVC runs it, for some epochs of each recipe, in a copy of the repository."""
    recipes = load_recipes()
    chosen = ["mlp-128"] if toy else list(recipes)
    trained = [
        _measure(name, recipes[name], 1 if toy else _epochs(recipes[name])) for name in chosen
    ]
    return [*trained, measure(RECORDER, "ours", 0, "memory.recorder")]


def rows(samples: list[Sample]) -> list[Row]:
    """Peak resident memory, with the 45 MiB of images that are mapped and not copied."""
    found = []
    for recipe in cases(samples):
        peak = series(samples, recipe, "ours", "peak_mib")
        if recipe == RECORDER:
            found.append(Row(recipe, spread(peak, "MiB", 0), "", f"{max(peak):,.0f} MiB"))
            continue
        found.append(
            Row(
                recipe,
                spread(peak, "MiB", 0),
                "",
                f"{max(peak):,.0f} MiB",
                f"at most {LIMIT_MIB} MiB",
                max(peak) <= LIMIT_MIB,
                "importing torch, in this build with CUDA, takes 530 MiB before anything is done",
            )
        )
    return found


def _epochs(recipe: Recipe) -> int:
    """Enough for everything that a long training brings with it, but no more."""
    epochs: int = recipe.params["train.epochs"]
    return min(epochs, math.ceil(SECONDS * epochs / recipe.seconds))


def _measure(name: str, recipe: Recipe, epochs: int) -> Sample:
    with scratch() as folder:
        prepared = prepare_mnist(name, folder)
        changes = recipe.params | {"train.epochs": epochs, "train.device": "cpu"}
        repository = copy_repository(folder / "repository", changes)
        shutil.move(prepared, _emptied(repository / "data" / "prepared"))
        outputs = ["models/checkpoint.safetensors", "results/history.csv"]
        return measure(
            name,
            "ours",
            0,
            "memory.stage",
            cwd=repository,
            arguments=["stages.train", "data/prepared", *outputs],
        )


def _emptied(path: Path) -> Path:
    shutil.rmtree(path, ignore_errors=True)
    return path
