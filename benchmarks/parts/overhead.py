"""overhead: what the training loop adds to forward, backward and optimiser steps."""

from benchmarks.data import prepare_mnist, scratch
from benchmarks.process import fresh
from benchmarks.samples import Row, Sample, cases, median, ratios, series, spread

TITLE = "Overhead of the training loop"

RECIPES = ("mlp-512-256", "cnn-2", "fast")
ROUNDS, TARGET, TOY_IMAGES = 7, 1.05, 2000


def take(toy: bool) -> list[Sample]:
    """An epoch and bare steps in turn, in one process for each recipe."""
    samples = []
    for recipe in RECIPES:
        with scratch() as folder:
            seconds = fresh(
                "overhead.compare",
                recipe=recipe,
                prepared=prepare_mnist(recipe, folder),
                rounds=2 if toy else ROUNDS,
                images=TOY_IMAGES if toy else None,
            )
        print(f"  {recipe}: {seconds}", flush=True)
        samples += [
            Sample(recipe, variant, number, {"seconds": value})
            for variant, values in seconds.items()
            for number, value in enumerate(values)
        ]
    return samples


def rows(samples: list[Sample]) -> list[Row]:
    """An epoch's wall time over that of the bare steps."""
    found = []
    for recipe in cases(samples):
        ours, bare = (series(samples, recipe, v, "seconds") for v in ("ours", "bare"))
        overhead = median(ratios(ours, bare))
        found.append(
            Row(
                f"{recipe}, one epoch",
                spread(ours, "s"),
                f"bare steps {spread(bare, 's')}",
                f"{overhead:.3f} times",
                f"at most {TARGET}",
                overhead <= TARGET,
            )
        )
    return found
