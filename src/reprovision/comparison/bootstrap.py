"""Bootstrap intervals for the change of a metric that is not a plain proportion.

To draw images with replacement is to weight them with how often they were drawn, so that one matrix
product gives the sums of a hundred draws.
"""

import numpy as np
from scipy import stats

from reprovision.results.metrics import METRICS, Contributions
from reprovision.results.predictions import Predictions

BOOTSTRAPPED = tuple(name for name in METRICS if name != "accuracy")
"""Accuracy has an exact test."""

DRAWS = 2000
BATCH = 100
"""Draws at a time: the weights of 10,000 images then take 8 MB."""

SEED = 0
"""The same comparison gives the same intervals."""


def bootstrap_intervals(
    base: Predictions, head: Predictions, paired: bool, confidence: float, bins: int
) -> dict[str, tuple[float, float]]:
    """Percentile intervals of head minus base, for each of `BOOTSTRAPPED`.

    There are none where a run has a single image: to draw it again shows no spread.

    Args:
        paired: both are of the same images in the same order, which are then drawn together.
        bins: of the calibration error.
    """
    if min(len(base), len(head)) < 2:
        return {}
    of_base, of_head = Contributions(base, bins), Contributions(head, bins)

    def change(*drawn: np.ndarray, axis: int) -> np.ndarray:
        # paired: one draw for both
        weights = [_weights(rows) for rows in drawn] * (2 if paired else 1)
        return _values(of_head, weights[1]) - _values(of_base, weights[0])

    samples = [np.arange(len(base))] + ([] if paired else [np.arange(len(head))])
    interval = stats.bootstrap(
        samples,
        change,
        n_resamples=DRAWS,
        batch=BATCH,
        vectorized=True,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    ends = zip(interval.low.tolist(), interval.high.tolist(), strict=True)
    return dict(zip(BOOTSTRAPPED, ends, strict=True))


def _values(contributions: Contributions, weights: np.ndarray) -> np.ndarray:
    """The metrics (metrics, draws) under weights (draws, N)."""
    sums = contributions.sums(weights)
    return np.stack([METRICS[name].compute(sums) for name in BOOTSTRAPPED])


def _weights(rows: np.ndarray) -> np.ndarray:
    """How often each of N images is in each draw: float64 (..., N) from indices (..., N)."""
    images = rows.shape[-1]
    draws = rows.reshape(-1, images)
    offsets = images * np.arange(len(draws))[:, None]
    counts = np.bincount((draws + offsets).ravel(), minlength=draws.size)
    return counts.astype(np.float64).reshape(rows.shape)
