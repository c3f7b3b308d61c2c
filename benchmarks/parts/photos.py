"""photos: the recipe `photos` against the loop of PyTorch's transfer-learning tutorial."""

from pathlib import Path

from benchmarks.data import scratch
from benchmarks.process import ROOT, fresh, measure
from benchmarks.samples import Row, Sample, median, ratios, series, spread
from reprovision.core.errors import UserError

TITLE = "One's own photos"

CASE = "ants and bees, 243 for training, 153 for testing"
EPOCHS, ROUNDS, TARGET = 25, 3, 10
TOY_IMAGES = 4


def take(toy: bool) -> list[Sample]:
    """Ours several times, and the tutorial's loop, which takes minutes, once."""
    with scratch() as folder:
        photos = folder / "photos" if toy else ROOT / "data" / "photos"
        if toy:
            fresh("photos.write", folder=str(photos), images=TOY_IMAGES)
        _require(photos)
        rounds, epochs = (1, 1) if toy else (ROUNDS, EPOCHS)
        ours = [measure(CASE, "ours", n, "photos.ours", folder=str(photos)) for n in range(rounds)]
        arguments = {"folder": str(photos), "epochs": epochs}
        return [*ours, measure(CASE, "tutorial", 0, "transfer_learning.tutorial", **arguments)]


def _require(photos: Path) -> None:
    if not all((photos / split).is_dir() for split in ("train", "test")):
        raise UserError(
            f"{photos} has no train and test: put the photos of the tutorial there, its val as test"
        )


def rows(samples: list[Sample]) -> list[Row]:
    """Time and accuracy."""
    ours, theirs = (series(samples, CASE, name, "seconds") for name in ("ours", "tutorial"))
    ratio = median(ratios(theirs * len(ours), ours))
    accuracy = series(samples, CASE, "ours", "accuracy")
    last, best = (series(samples, CASE, "tutorial", name)[0] for name in ("accuracy", "best"))
    found = f"{100 * median(accuracy):.2f} %"
    return [
        Row(
            "time",
            spread(ours, "s", 1),
            spread(theirs, "s", 0),
            f"{ratio:.1f} times as fast",
            f"at least {TARGET} times",
            ratio >= TARGET,
        ),
        Row(
            "test accuracy",
            found,
            f"{100 * last:.2f} %, at its best epoch {100 * best:.2f} %",
            f"{100 * (median(accuracy) - last):+.2f} points",
            "at least that of the last epoch",
            median(accuracy) >= last,
        ),
    ]
