"""Tests and intervals for the difference of two proportions, on the same or on other images.

All building blocks are scipy's. Of the two models, `gained` images are right in the second only,
and `lost` images are right in the first only; images on which both agree say nothing of the change.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Difference:
    """A change of a proportion, second minus first.

    Attributes:
        value: the change.
        low, high: its confidence interval.
        p: how often chance alone would give a change as large as this, were there none.
    """

    value: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class _Estimate:
    value: float
    low: float
    high: float


def paired_difference(gained: int, lost: int, images: int, confidence: float) -> Difference:
    """Two models on the same images: McNemar's exact test (doi:10.1007/BF02295996).

    The interval adds those of the two discordant shares (Clopper and Pearson) in squares, after
    Zou and Donner (doi:10.1002/sim.3095). It is nearly always on one side of zero when p is below
    1 - confidence; where the two disagree, p decides.
    """
    p = float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    newly_right = _estimate(gained, images, confidence, "exact")
    newly_wrong = _estimate(lost, images, confidence, "exact")
    return _square_and_add(newly_right, newly_wrong, p)


def unpaired_difference(
    first_right: int, first_images: int, right: int, images: int, confidence: float
) -> Difference:
    """Two models on different images: Fisher's exact test, and Newcombe's hybrid interval.

    Newcombe's is method 10 of doi:10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I.
    """
    table = [[right, images - right], [first_right, first_images - first_right]]
    second = _estimate(right, images, confidence, "wilson")
    first = _estimate(first_right, first_images, confidence, "wilson")
    return _square_and_add(second, first, float(stats.fisher_exact(table).pvalue))


def adjust(p_values: Sequence[float]) -> list[float]:
    """p-values of many tests made at once, after Benjamini and Hochberg.

    Of those below 0.05 then, no more than 5 % are expected to be chance.
    """
    adjusted = stats.false_discovery_control(p_values) if p_values else np.empty(0)
    return [float(p) for p in adjusted]


def _estimate(successes: int, trials: int, confidence: float, method: str) -> _Estimate:
    if not trials:
        return _Estimate(0.0, 0.0, 1.0)
    ends = stats.binomtest(successes, trials).proportion_ci(confidence, method)
    return _Estimate(successes / trials, float(ends.low), float(ends.high))


def _square_and_add(second: _Estimate, first: _Estimate, p: float) -> Difference:
    """The interval of a difference from the intervals of its two terms."""
    value = second.value - first.value
    return Difference(
        value=value,
        low=value - float(np.hypot(second.value - second.low, first.high - first.value)),
        high=value + float(np.hypot(second.high - second.value, first.value - first.low)),
        p=p,
    )
