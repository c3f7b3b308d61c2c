"""recipes: the tutorials' networks in our loop and in the tutorials' own."""

from typing import Any

from benchmarks.data import prepare_mnist, scratch
from benchmarks.process import measure
from benchmarks.samples import Row, Sample, cases, median, ratios, series, spread

TITLE = "The tutorials' networks: images a second in training"

RECIPES = ("mlp-512-256", "mlp-500-256", "mlp-128", "cnn-1", "cnn-2")
ROUNDS, IMAGES, TOY_IMAGES = 3, 20_000, 640
TARGETS = {"portable": None, "fp32": 2.5, "auto": 4.0}
"""How many times faster than the tutorial's loop each of ours must be."""

VARIANTS: dict[str, dict[str, Any]] = {
    "portable": {"numerics": "portable"},
    "fp32": {"numerics": "native", "train__precision": "fp32"},
    "auto": {"numerics": "native", "train__precision": "auto"},
}

OBSTACLES = {
    "mlp": "the shortest loop of PyTorch's own operations, without batches to gather or losses to "
    "add up, is only a fifth faster; keeping weights in bfloat16 beside those in float32 gains 7 %",
    "cnn": "torch's max-pooling, with its 64-bit indices, and its gradient take a third of a step, "
    "in either number format",
}


def take(toy: bool) -> list[Sample]:
    """One epoch each over the first images, all variants in turn."""
    images = TOY_IMAGES if toy else IMAGES
    with scratch() as folder:
        prepared = {recipe: prepare_mnist(recipe, folder) for recipe in RECIPES}
        return [
            sample
            for number in range(1 if toy else ROUNDS)
            for recipe in RECIPES
            for sample in _round(number, recipe, prepared[recipe], images)
        ]


def rows(samples: list[Sample]) -> list[Row]:
    """Images/s, and how many times those of the tutorial's loop."""
    found = []
    for recipe in cases(samples):
        tutorial = series(samples, recipe, "tutorial", "images_per_second")
        for variant, target in TARGETS.items():
            ours = series(samples, recipe, variant, "images_per_second")
            faster = median(ratios(ours, tutorial))
            found.append(
                Row(
                    f"{recipe}, {variant}",
                    spread(ours, "images/s", 0),
                    spread(tutorial, "images/s", 0),
                    f"{faster:.1f} times",
                    f"at least {target} times" if target else "",
                    faster >= target if target else None,
                    OBSTACLES[recipe.split("-")[0]],
                )
            )
    return found


def train_variants(
    number: int, recipe: str, prepared: str, images: int, **common: Any
) -> list[Sample]:
    """One epoch of our loop in each variant, in turn; `common` are changes of params for all."""
    return [
        measure(
            recipe,
            variant,
            number,
            "ours.train",
            recipe=recipe,
            prepared=prepared,
            seed=number,
            images=images,
            train__epochs=1,
            **common,
            **changes,
        )
        for variant, changes in VARIANTS.items()
    ]


def _round(number: int, recipe: str, prepared: str, images: int) -> list[Sample]:
    tutorial = measure(recipe, "tutorial", number, "tutorial.train", recipe=recipe, images=images)
    return [tutorial, *train_variants(number, recipe, prepared, images)]
