"""distributed: images/s of two workers against one, with one thread each."""

from benchmarks.data import prepare_mnist, scratch
from benchmarks.process import measure
from benchmarks.samples import Row, Sample, cases, median, ratios, series, spread

TITLE = "Training in two processes"

RECIPES = ("accurate", "cnn-2", "mlp-512-256")
ROUNDS, IMAGES, TOY_IMAGES, TARGET = 5, 20_000, 1_024, 0.85
WORTH = "accurate"
"""The only one of them that anybody would distribute; the others show the cost of a step."""


def take(toy: bool) -> list[Sample]:
    """One epoch each over the first images, with one worker and two in turn."""
    with scratch() as folder:
        prepared = {recipe: prepare_mnist(recipe, folder) for recipe in RECIPES}
        return [
            measure(
                recipe,
                f"{processes}",
                number,
                "distributed.train",
                recipe=recipe,
                prepared=prepared[recipe],
                processes=processes,
                images=TOY_IMAGES if toy else IMAGES,
            )
            for number in range(1 if toy else ROUNDS)
            for recipe in RECIPES
            for processes in (1, 2)
        ]


def rows(samples: list[Sample]) -> list[Row]:
    """Images/s of two workers, and the share of twice those of one."""
    found = []
    for recipe in cases(samples):
        one, two = (series(samples, recipe, count, "images_per_second") for count in ("1", "2"))
        scaling = median(ratios(two, one)) / 2
        is_worth = recipe == WORTH
        found.append(
            Row(
                f"{recipe}, two workers",
                spread(two, "images/s", 0),
                f"one: {spread(one, 'images/s', 0)}",
                f"{scaling:.2f} of twice as many",
                f"at least {TARGET}" if is_worth else "",
                scaling >= TARGET if is_worth else None,
                "the two share the memory and its caches",
            )
        )
    return found
