"""accurate: the best that one network of ours does on MNIST."""

import statistics

from benchmarks.data import prepare_mnist, scratch
from benchmarks.parts.fast import promise
from benchmarks.process import measure
from benchmarks.samples import Row, Sample, mean_and_sd, median, series, spread
from reprovision.recipes import load_recipes

TITLE = "The most accurate network"

SEEDS, ACCURACY, SECONDS = 3, 99.7, 600


def take(toy: bool) -> list[Sample]:
    """Our recipe over its seeds; nothing as long as there is no such recipe."""
    if "accurate" not in load_recipes():
        print("  there is no recipe accurate")
        return []
    changes = {"images": 1000, "train__epochs": 1} if toy else {}
    with scratch() as folder:
        prepared = prepare_mnist("accurate", folder)
        arguments = {"recipe": "accurate", "prepared": prepared, **changes}
        return [
            measure("accurate", "ours", seed, "ours.train", seed=seed, **arguments)
            for seed in range(1 if toy else SEEDS)
        ]


def rows(samples: list[Sample]) -> list[Row]:
    """Test accuracy and seconds of the training loop."""
    if not samples:
        return []
    accuracies = series(samples, "accurate", "ours", "accuracy")
    seconds = series(samples, "accurate", "ours", "seconds")
    mean = statistics.fmean(accuracies)
    return [
        Row(
            "test accuracy, mean over seeds",
            mean_and_sd(accuracies, "%"),
            "best published single networks 99.75 to 99.8 %",
            f"{mean:.3f} %",
            f"at least {ACCURACY} %",
            mean >= ACCURACY,
        ),
        Row(
            "training loop",
            spread(seconds, "s", 0),
            "",
            f"{median(seconds) / 60:.1f} minutes",
            f"at most {SECONDS // 60} minutes",
            median(seconds) <= SECONDS,
        ),
        promise("accurate", seconds, accuracies),
    ]
