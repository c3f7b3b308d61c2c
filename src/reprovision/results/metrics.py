"""What a metric is: one table, which evaluation, bootstrap, reports, gate and MLflow all use.

Nearly every metric is a function of sums over images, and takes many weightings of the images at
once: all with weight one in evaluation, thousands of bootstrap draws in a comparison. For 10,000
images and 2,000 draws of two models, scikit-learn's functions take 15 to 20 s and these 0.4 to
0.5 s (one core of an AMD EPYC, n=3); a test holds them against each other. The others need all
probabilities: scikit-learn computes them, once, in evaluation.

A metric that a test set, or a file of an older version, does not define is NaN, and left out of
results/test.json.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from reprovision.core.wording import count
from reprovision.results.predictions import Predictions
from reprovision.results.sums import Contributions, Settings, Sums

DIGITS = 5
"""Decimals of a metric in results/test.json, as many as DVC shows of a change."""


def precision(sums: Sums) -> np.ndarray:
    """(..., classes) correct among the images predicted as a class; 0 without any."""
    return sums.correct / np.maximum(sums.predicted, 1)


def recall(sums: Sums) -> np.ndarray:
    """(..., classes) correct among the images of a class; 0 without any."""
    return sums.correct / np.maximum(sums.actual, 1)


def f1(sums: Sums) -> np.ndarray:
    """(..., classes) harmonic mean of precision and recall; 0 without any image."""
    return 2 * sums.correct / np.maximum(sums.actual + sums.predicted, 1)


def top_k_recall(sums: Sums) -> np.ndarray:
    """(..., classes) images of a class that is among their k most probable ones, as recall."""
    return (sums.actual - sums.missed) / np.maximum(sums.actual, 1)


def macro(values: np.ndarray, sums: Sums) -> np.ndarray:
    """(...) the mean of values (..., classes) over the classes that have images."""
    present = sums.actual > 0
    return (values * present).sum(-1) / np.maximum(present.sum(-1), 1)


def _mean_of_defined(values: np.ndarray) -> float:
    """The mean of those that are not NaN; NaN without any."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else math.nan


@dataclass(frozen=True)
class Metric:
    """A property of a classifier over a test set.

    Attributes:
        name: in files, options and MLflow.
        title: for people.
        unit: `fraction` of one, shown in percent, or `nats`.
        lower_is_better: its direction.
    """

    name: str
    title: str
    unit: Literal["fraction", "nats"]
    lower_is_better: bool

    def titled(self, settings: Settings) -> str:
        """The title with the number that k stands for."""
        return self.title.replace("top-k", f"top-{settings.top_k}")

    def text(self, value: float) -> str:
        """A value in its unit, e.g. 97.21% or 0.0333; a dash for an undefined one."""
        if math.isnan(value):
            return "–"
        return f"{value:.2%}" if self.unit == "fraction" else f"{value:.4f}"


@dataclass(frozen=True)
class SumMetric(Metric):
    """A function of sums over images, which can be bootstrapped.

    Attributes:
        compute: from sums (...) to values (...).
    """

    compute: Callable[[Sums], np.ndarray]


@dataclass(frozen=True)
class CurveMetric(Metric):
    """A function of the ROC curves, and so of all probabilities, which only evaluation has.

    results/predictions.csv, small enough for Git, holds one probability of each image: reports take
    the value from results/test.json.

    Attributes:
        compute: from the areas (classes,) under the curves, NaN where a class has none.
    """

    compute: Callable[[np.ndarray], float]


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        SumMetric(
            "accuracy", "accuracy", "fraction", False, lambda s: s.correct.sum(-1) / s.images
        ),
        SumMetric(
            "top_k_accuracy",
            "top-k accuracy",
            "fraction",
            False,
            lambda s: (s.images - s.missed.sum(-1)) / s.images,
        ),
        # mean cross-entropy
        SumMetric("loss", "loss", "nats", True, lambda s: s.loss / s.images),
        SumMetric(
            "macro_precision",
            "macro precision",
            "fraction",
            False,
            lambda s: macro(precision(s), s),
        ),
        # also known as macro recall
        SumMetric(
            "balanced_accuracy",
            "balanced accuracy",
            "fraction",
            False,
            lambda s: macro(recall(s), s),
        ),
        SumMetric("macro_f1", "macro F1", "fraction", False, lambda s: macro(f1(s), s)),
        # one against the rest
        CurveMetric("macro_roc_auc", "macro ROC-AUC", "fraction", False, _mean_of_defined),
        # expected calibration error (Guo and others, arXiv:1706.04599)
        SumMetric(
            "calibration_error",
            "calibration error",
            "fraction",
            True,
            lambda s: np.abs(s.gaps).sum(-1) / s.images,
        ),
    )
}

SUM_METRICS = {name: metric for name, metric in METRICS.items() if isinstance(metric, SumMetric)}
CURVE_METRICS = {n: metric for n, metric in METRICS.items() if isinstance(metric, CurveMetric)}


def measure(
    predictions: Predictions,
    confidence: float,
    settings: Settings,
    roc_auc: np.ndarray | None = None,
) -> dict[str, float]:
    """The metrics of `METRICS` that are defined, by name and in order.

    Beside them are `accuracy_low` and `accuracy_high`, Wilson's interval, and `images`.

    Args:
        confidence: of the interval, e.g. 0.95.
        roc_auc: float64 (classes,), the area under the ROC curve of each class, NaN where it is
            undefined; without it there are no metrics of curves.
    """
    sums = Contributions(predictions, settings).sums()
    values = {name: float(metric.compute(sums)) for name, metric in SUM_METRICS.items()}
    if roc_auc is not None:
        values |= {name: metric.compute(roc_auc) for name, metric in CURVE_METRICS.items()}
    low, high = proportion_interval(int(predictions.correct.sum()), len(predictions), confidence)
    interval = {"accuracy": values["accuracy"], "accuracy_low": low, "accuracy_high": high}
    defined = {n: values[n] for n in METRICS if not math.isnan(values.get(n, math.nan))}
    return {**interval, **defined, "images": len(predictions)}


def rounded(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics as results/test.json holds them: a change that DVC shows as 0.0 is none."""
    return {name: round(value, DIGITS) for name, value in metrics.items()}


def describe(metrics: Mapping[str, float], confidence: float, of: str = "") -> str:
    """The accuracy with its interval, and the loss, in words; `of` follows the images."""
    return (
        f"accuracy {metrics['accuracy']:.2%} over {count(int(metrics['images']), 'image')}{of} "
        f"({confidence:.0%} interval {metrics['accuracy_low']:.2%} to "
        f"{metrics['accuracy_high']:.2%}), loss {metrics['loss']:.4f}"
    )


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
