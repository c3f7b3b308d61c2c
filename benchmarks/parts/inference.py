"""inference: scoring the 10,000 test images."""

from typing import Any

from benchmarks.data import prepare_mnist, scratch
from benchmarks.process import measure
from benchmarks.samples import Row, Sample, cases, median, ratios, series, spread

TITLE = "Scoring the test images"

RECIPES = ("mlp-512-256", "cnn-2")
ROUNDS, TARGET, TOY_IMAGES = 5, 5.0, 640


def take(toy: bool) -> list[Sample]:
    """Ours and the tutorial's loop in turn."""
    images = TOY_IMAGES if toy else None
    samples = []
    with scratch() as folder:
        prepared = {recipe: prepare_mnist(recipe, folder) for recipe in RECIPES}
        for number in range(1 if toy else ROUNDS):
            for recipe in RECIPES:
                tested: dict[str, Any] = {"recipe": recipe, "images": images}
                ours = tested | {"prepared": prepared[recipe]}
                samples += [
                    measure(recipe, "tutorial", number, "tutorial.evaluate", **tested),
                    measure(recipe, "ours", number, "ours.evaluate", **ours),
                ]
    return samples


def rows(samples: list[Sample]) -> list[Row]:
    """Seconds for all test images."""
    found = []
    for recipe in cases(samples):
        ours, tutorial = (series(samples, recipe, v, "seconds") for v in ("ours", "tutorial"))
        faster = median(ratios(tutorial, ours))
        found.append(
            Row(
                recipe,
                spread(ours, "s", 3),
                spread(tutorial, "s", 3),
                f"{faster:.1f} times faster",
                f"at least {TARGET:g} times",
                faster >= TARGET,
                "the network's own products in float32, which both sides have to compute, take "
                "nearly a fifth of the other side's time already",
            )
        )
    return found
