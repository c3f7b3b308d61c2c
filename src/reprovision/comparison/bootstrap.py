"""Bootstrap intervals for the change of a metric that is not a plain proportion.

To draw images with replacement is to weight them with how often they were drawn, so that one matrix
product gives the sums of a hundred draws.
"""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from reprovision.results.metrics import SUM_METRICS
from reprovision.results.predictions import Predictions
from reprovision.results.sums import Contributions, Settings

BOOTSTRAPPED = tuple(name for name in SUM_METRICS if name != "accuracy")
"""Accuracy has an exact test."""

DRAWS = 2000
BATCH = 100
"""Draws at a time: the weights of 10,000 images then take 8 MB."""

SEED = 0
"""The same comparison gives the same intervals."""


def bootstrap_intervals(
    base: Predictions, head: Predictions, paired: bool, confidence: float, settings: Settings
) -> dict[str, tuple[float, float]]:
    """Percentile intervals of head minus base, for each of `BOOTSTRAPPED` that both define.

    There are none where a run has a single image: to draw it again shows no spread.

    Args:
        paired: both are of the same images in the same order, which are then drawn together.
    """
    if min(len(base), len(head)) < 2:
        return {}
    both = of_base, of_head = Contributions(base, settings), Contributions(head, settings)
    sums = [contributions.sums() for contributions in both]
    names = [n for n in BOOTSTRAPPED if not any(np.isnan(SUM_METRICS[n].compute(s)) for s in sums)]

    def change(*drawn: np.ndarray, axis: int) -> np.ndarray:
        # paired: one draw for both
        weights = [_weights(rows) for rows in drawn] * (2 if paired else 1)
        return _values(of_head, weights[1], names) - _values(of_base, weights[0], names)

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
    return dict(zip(names, ends, strict=True))


def _values(contributions: Contributions, weights: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Metrics (metrics, draws) under weights (draws, N)."""
    sums = contributions.sums(weights)
    return np.stack([SUM_METRICS[name].compute(sums) for name in names])


def _weights(rows: np.ndarray) -> np.ndarray:
    """How often each of N images is in each draw: float64 (..., N) from indices (..., N)."""
    images = rows.shape[-1]
    draws = rows.reshape(-1, images)
    offsets = images * np.arange(len(draws))[:, None]
    counts = np.bincount((draws + offsets).ravel(), minlength=draws.size)
    return counts.astype(np.float64).reshape(rows.shape)
