"""fast: 99 % of MNIST's test images, against two scripts that people know."""

import statistics
from collections.abc import Sequence

from benchmarks.data import prepare_mnist, scratch
from benchmarks.process import measure
from benchmarks.samples import Row, Sample, mean_and_sd, median, ratios, series, spread
from reprovision.recipes import find_recipe

TITLE = "To 99 % of the test images"

SEEDS, CLASSIC_EPOCHS, ACCURACY = 5, 14, 99.0
TOY_IMAGES = 2000

SLACK_ACCURACY, SLACK_SECONDS = 0.05, 1.25
"""How far a recipe may miss its promise: points below, and times the seconds."""


def take(toy: bool) -> list[Sample]:
    """Our recipe and the tuned script seed by seed in turn; then the classic one, once."""
    images = TOY_IMAGES if toy else None
    samples = []
    with scratch() as folder:
        prepared = prepare_mnist("fast", folder)
        for seed in range(2 if toy else SEEDS):
            arguments = {"prepared": prepared, "seed": seed, "images": images}
            samples += [
                measure("fast", "ours", seed, "ours.train", recipe="fast", **arguments),
                measure("fast", "tuned", seed, "scripts.tuned", **arguments),
            ]
    epochs = 1 if toy else CLASSIC_EPOCHS
    return [
        *samples,
        measure(
            "fast",
            "classic",
            0,
            "scripts.classic",
            target=ACCURACY,
            max_epochs=epochs,
            images=images,
        ),
    ]


def rows(samples: list[Sample]) -> list[Row]:
    """Seconds of the training loops."""
    ours, tuned, classic = (
        series(samples, "fast", variant, "seconds") for variant in ("ours", "tuned", "classic")
    )
    accuracies = {v: series(samples, "fast", v, "accuracy") for v in ("ours", "tuned", "classic")}
    epochs = series(samples, "fast", "classic", "epochs")[0]
    accurate = statistics.fmean(accuracies["ours"]) >= ACCURACY
    faster, faster_tuned = classic[0] / median(ours), median(ratios(tuned, ours))
    return [
        Row(
            "test accuracy, mean over seeds",
            mean_and_sd(accuracies["ours"], "%"),
            f"tuned script {mean_and_sd(accuracies['tuned'], '%')}",
            f"{statistics.fmean(accuracies['ours']):.2f} %",
            f"at least {ACCURACY} %",
            accurate,
        ),
        Row(
            "training loop, against the classic example",
            spread(ours, "s"),
            f"{classic[0]:,.0f} s for {epochs:.0f} epochs, to {accuracies['classic'][0]:.2f} %",
            f"{faster:,.0f} times faster",
            "at least 100 times",
            faster >= 100,
        ),
        Row(
            "training loop, against the tuned script",
            spread(ours, "s"),
            spread(tuned, "s"),
            f"{faster_tuned:.1f} times faster",
            "at least 3 times",
            faster_tuned >= 3,
        ),
        promise("fast", ours, accuracies["ours"]),
    ]


def promise(recipe: str, seconds: Sequence[float], accuracies: Sequence[float]) -> Row:
    """Whether a recipe keeps what recipes.yaml promises."""
    promised = find_recipe(recipe)
    met = (
        statistics.fmean(accuracies) >= promised.accuracy - SLACK_ACCURACY
        and median(seconds) <= promised.seconds * SLACK_SECONDS
    )
    return Row(
        f"promise of the recipe {recipe}",
        f"{statistics.fmean(accuracies):.2f} % in {median(seconds):,.2f} s",
        f"promised {promised.accuracy} % in {promised.seconds:g} s",
        "",
        f"within {SLACK_ACCURACY} points and {SLACK_SECONDS} times the seconds",
        met,
    )
