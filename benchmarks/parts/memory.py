"""memory: the most that the train stage takes on MNIST."""

import shutil
from pathlib import Path

from benchmarks.data import copy_repository, prepare_mnist, scratch
from benchmarks.process import measure
from benchmarks.samples import Row, Sample, cases, series, spread
from reprovision.recipes import load_recipes

TITLE = "Memory of the train stage on MNIST"

LIMIT_MIB, ROUNDS = 900, 1


def take(toy: bool) -> list[Sample]:
    """The stage as DVC runs it, one epoch of each recipe, in a copy of the repository."""
    recipes = load_recipes()
    chosen = ["mlp-128"] if toy else list(recipes)
    return [_measure(recipe, recipes[recipe].params) for recipe in chosen]


def rows(samples: list[Sample]) -> list[Row]:
    """Peak resident memory, with the 45 MiB of images that are mapped and not copied."""
    found = []
    for recipe in cases(samples):
        peak = series(samples, recipe, "ours", "peak_mib")
        found.append(
            Row(
                recipe,
                spread(peak, "MiB", 0),
                "",
                f"{max(peak):,.0f} MiB",
                f"at most {LIMIT_MIB} MiB",
                max(peak) <= LIMIT_MIB,
                "what the layers keep of a batch for the backward pass grows with batch size and "
                "width; torch's libraries alone take about 300 MiB",
            )
        )
    return found


def _measure(recipe: str, params: dict[str, object]) -> Sample:
    with scratch() as folder:
        prepared = prepare_mnist(recipe, folder)
        repository = copy_repository(
            folder / "repository", params | {"train.epochs": 1, "train.device": "cpu"}
        )
        shutil.move(prepared, _emptied(repository / "data" / "prepared"))
        outputs = ["models/checkpoint.safetensors", "results/history.csv"]
        return measure(
            *(recipe, "ours", 0, "memory.stage"),
            cwd=repository,
            arguments=["stages.train", "data/prepared", *outputs],
        )


def _emptied(path: Path) -> Path:
    shutil.rmtree(path, ignore_errors=True)
    return path
