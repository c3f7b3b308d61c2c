"""Sums over images, of which most metrics are functions, under any weights of the images."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse, stats

from reprovision.results.predictions import Predictions


@dataclass(frozen=True)
class Settings:
    """What metrics depend on beside the predictions.

    Attributes:
        bins: of confidence, of equal width, for the calibration error.
        top_k: for the top-k accuracy, which says something new only above 1 and below the number of
            classes.
    """

    bins: int = 1
    top_k: int = 1


@dataclass(frozen=True)
class Sums:
    """Weighted sums over images, with any leading dimensions for as many weightings.

    Attributes:
        actual, predicted, correct: (..., classes) images of each class, images predicted as it,
            and correctly classified images of it.
        missed: (..., classes) images of each class that is not among their k most probable ones;
            NaN where ranks are not known, or k is not below the number of classes, or 1.
        loss: (...) cross-entropy in nats.
        gaps: (..., bins) confidence minus correctness, by bins of confidence.
    """

    actual: np.ndarray
    predicted: np.ndarray
    correct: np.ndarray
    missed: np.ndarray
    loss: np.ndarray
    gaps: np.ndarray

    @property
    def images(self) -> np.ndarray:
        """(...) number of images."""
        return self.actual.sum(-1)


class Contributions:
    """What each image adds to the sums, which can then be computed for any weights."""

    def __init__(self, predictions: Predictions, settings: Settings) -> None:
        p, rows, ones = predictions, np.arange(len(predictions)), np.ones(len(predictions))
        binned = stats.binned_statistic(p.confidence, ones, "count", settings.bins, (0, 1))
        self.classes = classes = len(p.classes)
        self.has_top_k = p.rank is not None and 1 < settings.top_k < classes
        missed = p.rank > settings.top_k if p.rank is not None else np.zeros(len(rows))
        # for each group of sums: the column and the value of every image
        entries = [
            (p.actual, ones),
            (classes + p.predicted, ones),
            (2 * classes + p.actual, p.correct.astype(float)),
            (3 * classes + p.actual, missed.astype(float)),
            (np.full(len(rows), 4 * classes), p.loss),
            (4 * classes + binned.binnumber, p.confidence - p.correct),
        ]
        column, value = (np.concatenate(parts) for parts in zip(*entries, strict=True))
        self.matrix = sparse.csr_array(
            (value, (np.tile(rows, len(entries)), column)),
            shape=(len(rows), 4 * classes + 1 + settings.bins),
        )
        # few images are missed
        self.matrix.eliminate_zeros()

    def sums(self, weights: np.ndarray | None = None) -> Sums:
        """The sums (...) under weights (..., N); without weights, every image counts once."""
        weights = np.ones(self.matrix.shape[0]) if weights is None else weights
        k = self.classes
        actual, predicted, correct, missed, loss, gaps = np.split(
            weights @ self.matrix, [k, 2 * k, 3 * k, 4 * k, 4 * k + 1], axis=-1
        )
        missed = missed if self.has_top_k else np.full_like(missed, np.nan)
        return Sums(actual, predicted, correct, missed, loss[..., 0], gaps)
