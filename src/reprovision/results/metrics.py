"""What a metric is: one table, which evaluation, bootstrap, reports, gate and MLflow all use.

Every metric is a function of sums over images, and takes many weightings of the images at once: all
with weight one in evaluation, thousands of bootstrap draws in a comparison. For 10,000 images and
2,000 draws of two models, scikit-learn's functions take 15 to 20 s and these 0.4 to 0.5 s (one core
of an AMD EPYC, n=3); a test holds them against each other.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
from scipy import sparse, stats

from reprovision.core.files import write_csv
from reprovision.results.predictions import Predictions

DIGITS = 5
"""Decimals of a metric in results/test.json, as many as DVC shows of a change."""


@dataclass(frozen=True)
class Sums:
    """Weighted sums over images, with any leading dimensions for as many weightings.

    Attributes:
        actual, predicted, correct: (..., classes) images of each class, images predicted as it,
            and correctly classified images of it.
        loss: (...) cross-entropy in nats.
        gaps: (..., bins) confidence minus correctness, by bins of confidence.
    """

    actual: np.ndarray
    predicted: np.ndarray
    correct: np.ndarray
    loss: np.ndarray
    gaps: np.ndarray

    @property
    def images(self) -> np.ndarray:
        """(...) number of images."""
        return self.actual.sum(-1)


def precision(sums: Sums) -> np.ndarray:
    """(..., classes) correct among the images predicted as a class; 0 without any."""
    return sums.correct / np.maximum(sums.predicted, 1)


def recall(sums: Sums) -> np.ndarray:
    """(..., classes) correct among the images of a class; 0 without any."""
    return sums.correct / np.maximum(sums.actual, 1)


def f1(sums: Sums) -> np.ndarray:
    """(..., classes) harmonic mean of precision and recall; 0 without any image."""
    return 2 * sums.correct / np.maximum(sums.actual + sums.predicted, 1)


def macro(values: np.ndarray, sums: Sums) -> np.ndarray:
    """(...) the mean of values (..., classes) over the classes that have images."""
    present = sums.actual > 0
    return (values * present).sum(-1) / np.maximum(present.sum(-1), 1)


@dataclass(frozen=True)
class Metric:
    """A property of a classifier over a test set.

    Attributes:
        name: in files, options and MLflow.
        title: for people.
        unit: `fraction` of one, shown in percent, or `nats`.
        lower_is_better: its direction.
        compute: from sums (...) to values (...).
    """

    name: str
    title: str
    unit: Literal["fraction", "nats"]
    lower_is_better: bool
    compute: Callable[[Sums], np.ndarray]


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "accuracy", "fraction", False, lambda s: s.correct.sum(-1) / s.images),
        # mean cross-entropy
        Metric("loss", "loss", "nats", True, lambda s: s.loss / s.images),
        Metric(
            "macro_precision",
            "macro precision",
            "fraction",
            False,
            lambda s: macro(precision(s), s),
        ),
        Metric("macro_recall", "macro recall", "fraction", False, lambda s: macro(recall(s), s)),
        Metric("macro_f1", "macro F1", "fraction", False, lambda s: macro(f1(s), s)),
        # expected calibration error (Guo and others, arXiv:1706.04599)
        Metric(
            "calibration_error",
            "calibration error",
            "fraction",
            True,
            lambda s: np.abs(s.gaps).sum(-1) / s.images,
        ),
    )
}


@dataclass(frozen=True)
class ClassMetrics:
    """The metrics of one class; a ratio without any image is 0.

    Attributes:
        recall_low, recall_high: Wilson's confidence interval of the recall.
        images: test images of this class.
    """

    name: str
    precision: float
    recall: float
    recall_low: float
    recall_high: float
    f1: float
    images: int


def measure(predictions: Predictions, confidence: float, bins: int) -> dict[str, float]:
    """All metrics of `METRICS` by name.

    Beside them are `accuracy_low` and `accuracy_high`, Wilson's interval, and `images`.

    Args:
        confidence: of the interval, e.g. 0.95.
        bins: of equal width, for the calibration error.
    """
    sums = Contributions(predictions, bins).sums()
    values = {name: float(metric.compute(sums)) for name, metric in METRICS.items()}
    low, high = proportion_interval(int(predictions.correct.sum()), len(predictions), confidence)
    interval = {"accuracy": values["accuracy"], "accuracy_low": low, "accuracy_high": high}
    return {**interval, **values, "images": len(predictions)}


def rounded(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics as results/test.json holds them: a change that DVC shows as 0.0 is none."""
    return {name: round(value, DIGITS) for name, value in metrics.items()}


def measure_classes(predictions: Predictions, confidence: float) -> list[ClassMetrics]:
    """The metrics of each class, in order."""
    sums = Contributions(predictions, bins=1).sums()
    values = zip(predictions.classes, precision(sums), recall(sums), f1(sums), strict=True)
    found = []
    for label, (name, *ratios) in enumerate(values):
        images = int(sums.actual[label])
        interval = proportion_interval(int(sums.correct[label]), images, confidence)
        class_precision, class_recall, class_f1 = map(float, ratios)
        found.append(ClassMetrics(name, class_precision, class_recall, *interval, class_f1, images))
    return found


def write_class_metrics(path: str | Path, classes: list[ClassMetrics]) -> None:
    """Writes one row per class, to 6 digits."""
    rows = [
        [f"{value:.6g}" if isinstance(value, float) else value for value in asdict(c).values()]
        for c in classes
    ]
    write_csv(path, [field.name for field in fields(ClassMetrics)], rows)


def proportion_interval(
    successes: int, trials: int, confidence: float, method: Literal["wilson", "exact"] = "wilson"
) -> tuple[float, float]:
    """Confidence interval of a proportion; (0, 1) without any trial.

    Args:
        method: Wilson's (doi:10.2307/2276774) or the exact one of Clopper and Pearson.
    """
    if trials == 0:
        return 0.0, 1.0
    interval = stats.binomtest(successes, trials).proportion_ci(confidence, method)
    return float(interval.low), float(interval.high)


class Contributions:
    """What each image adds to the sums, which can then be computed for any weights.

    Args:
        predictions: of N images.
        bins: of equal width, for the calibration error.
    """

    def __init__(self, predictions: Predictions, bins: int) -> None:
        p, rows, ones = predictions, np.arange(len(predictions)), np.ones(len(predictions))
        binned = stats.binned_statistic(p.confidence, ones, "count", bins, (0, 1))
        self.classes = classes = len(p.classes)
        # for each group of sums: the column and the value of every image
        entries = [
            (p.actual, ones),
            (classes + p.predicted, ones),
            (2 * classes + p.actual, p.correct.astype(float)),
            (np.full(len(rows), 3 * classes), p.loss),
            (3 * classes + binned.binnumber, p.confidence - p.correct),
        ]
        column, value = (np.concatenate(parts) for parts in zip(*entries, strict=True))
        self.matrix = sparse.csr_array(
            (value, (np.tile(rows, len(entries)), column)),
            shape=(len(rows), 3 * classes + 1 + bins),
        )

    def sums(self, weights: np.ndarray | None = None) -> Sums:
        """The sums (...) under weights (..., N); without weights, every image counts once."""
        weights = np.ones(self.matrix.shape[0]) if weights is None else weights
        k = self.classes
        actual, predicted, correct, loss, gaps = np.split(
            weights @ self.matrix, [k, 2 * k, 3 * k, 3 * k + 1], axis=-1
        )
        return Sums(actual, predicted, correct, loss[..., 0], gaps)
