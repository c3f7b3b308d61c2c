"""memory: peak memory of the train stage on MNIST."""

import math
import shutil
from pathlib import Path

from benchmarks.data import copy_repository, prepare_mnist, scratch
from benchmarks.process import measure
from benchmarks.samples import Row, Sample, cases, series, spread
from reprovision.recipes import Recipe, load_recipes

TITLE = "Memory of the train stage on MNIST"

SECONDS = 15
"""Of training: after 10 the stage imports MLflow."""


def take(toy: bool) -> list[Sample]:
    """The stage as DVC runs it, for some epochs of each recipe, in a copy of the repository."""
    recipes = load_recipes()
    chosen = ["mlp-128"] if toy else list(recipes)
    return [_measure(name, recipes[name], 1 if toy else _epochs(recipes[name])) for name in chosen]


def rows(samples: list[Sample]) -> list[Row]:
    """Peak resident memory, with the 45 MiB of images that are mapped and not copied."""
    return [
        Row(recipe, spread(peak, "MiB", 0), "", f"{max(peak):,.0f} MiB")
        for recipe in cases(samples)
        for peak in [series(samples, recipe, "ours", "peak_mib")]
    ]


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
        return measure(name, "ours", 0, "memory.stage", cwd=repository, arguments=["stages.train"])


def _emptied(path: Path) -> Path:
    shutil.rmtree(path, ignore_errors=True)
    return path
