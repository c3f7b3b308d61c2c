"""Bootstrap intervals for the change of figures that are no plain proportions.

Each figure is a function of sums over images: its loss, its class, the class it was taken for, how
far its confidence is from being right. To draw images with replacement is to weigh them with how
often they were drawn, so that one matrix product gives the sums of a hundred draws.
"""

import numpy as np
from scipy import sparse, stats

from reprovision.evaluation.metrics import Predictions

FIGURES = ("loss", "macro_precision", "macro_recall", "macro_f1", "calibration_error")
"""Names of the figures, as in `Metrics`, in the order in which they are computed here."""

DRAWS = 2000
BATCH = 100
"""Draws at a time: the weights of 10,000 images then take 8 MB."""

SEED = 0
"""The same comparison gives the same intervals."""


def figure_intervals(
    base: Predictions, head: Predictions, paired: bool, confidence: float, bins: int
) -> dict[str, tuple[float, float]]:
    """Percentile intervals of head minus base, for each of `FIGURES`.

    Args:
        paired: both are of the same images in the same order, which are then drawn together.
        bins: of the calibration error.
    """
    of_base, of_head = (_contributions(predictions, bins) for predictions in (base, head))

    def change(*drawn: np.ndarray, axis: int) -> np.ndarray:
        # paired: one draw for both
        weights = [_weights(rows) for rows in drawn] * (2 if paired else 1)
        before = figures(weights[0] @ of_base, len(base.classes))
        return figures(weights[1] @ of_head, len(head.classes)) - before

    samples = [np.arange(len(base.actual))] + ([] if paired else [np.arange(len(head.actual))])
    found = stats.bootstrap(
        samples,
        change,
        n_resamples=DRAWS,
        batch=BATCH,
        vectorized=True,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    ends = zip(found.low.tolist(), found.high.tolist(), strict=True)
    return dict(zip(FIGURES, ends, strict=True))


def observed(predictions: Predictions, bins: int) -> dict[str, float]:
    """The figures over all images, each once."""
    ones = np.ones(len(predictions.actual))
    values = figures(ones @ _contributions(predictions, bins), len(predictions.classes))
    return dict(zip(FIGURES, values.tolist(), strict=True))


def figures(sums: np.ndarray, classes: int) -> np.ndarray:
    """The figures (5, ...) from sums (..., 3 * classes + 1 + bins) of contributions.

    A ratio without any image is 0, as in `measure`.
    """
    actual, taken, right, loss, gaps = np.split(
        sums, [classes, 2 * classes, 3 * classes, 3 * classes + 1], axis=-1
    )
    images = actual.sum(-1)
    return np.stack(
        [
            loss[..., 0] / images,
            (right / np.maximum(taken, 1)).mean(-1),
            (right / np.maximum(actual, 1)).mean(-1),
            (2 * right / np.maximum(actual + taken, 1)).mean(-1),
            np.abs(gaps).sum(-1) / images,
        ]
    )


def _contributions(predictions: Predictions, bins: int) -> sparse.csr_array:
    """What each image adds to the sums: float64 (N, 3 * classes + 1 + bins), mostly zeros."""
    p, classes, rows = predictions, len(predictions.classes), np.arange(len(predictions.actual))
    bin_ = np.minimum((p.confidence * bins).astype(int), bins - 1)
    # for each of them: in which rows, in which column, what
    entries = [
        (rows, p.actual, np.ones(len(rows))),
        (rows, classes + p.predicted, np.ones(len(rows))),
        (rows, 2 * classes + p.actual, p.correct.astype(float)),
        (rows, np.full(len(rows), 3 * classes), p.loss),
        (rows, 3 * classes + 1 + bin_, p.confidence - p.correct),
    ]
    row, column, value = (np.concatenate(parts) for parts in zip(*entries, strict=True))
    shape = (len(rows), 3 * classes + 1 + bins)
    return sparse.csr_array((value, (row, column)), shape=shape)


def _weights(rows: np.ndarray) -> np.ndarray:
    """How often each of N images is in each draw: float64 (..., N) from indices (..., N)."""
    images = rows.shape[-1]
    draws = rows.reshape(-1, images)
    offsets = images * np.arange(len(draws))[:, None]
    counts = np.bincount((draws + offsets).ravel(), minlength=draws.size)
    return counts.astype(np.float64).reshape(rows.shape)
