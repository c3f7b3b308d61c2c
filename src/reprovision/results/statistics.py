"""Tests and intervals for the difference of two proportions, on the same or on other images.

All building blocks are scipy's. Of two models, `fixed` images are classified correctly by the
second only, and `regressed` images by the first only; images on which both agree carry no
information about the change.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from reprovision.results.metrics import proportion_interval


@dataclass(frozen=True)
class Difference:
    """A change of a proportion, second minus first.

    Attributes:
        value: the change.
        low, high: its confidence interval.
        p: probability of a change at least as large if the two were equally good.
    """

    value: float
    low: float
    high: float
    p: float


def paired_difference(fixed: int, regressed: int, images: int, confidence: float) -> Difference:
    """Two models on the same images: McNemar's exact test (doi:10.1007/BF02295996).

    The interval adds those of the two discordant shares (Clopper and Pearson) in squares, after
    Zou and Donner (doi:10.1002/sim.3095). It is nearly always on one side of zero when p is below
    1 - confidence; where the two disagree, p decides.
    """
    discordant = fixed + regressed
    p = float(stats.binomtest(fixed, discordant).pvalue) if discordant else 1.0
    second = _estimate(fixed, images, confidence, "exact")
    first = _estimate(regressed, images, confidence, "exact")
    return _square_and_add(second, first, p)


def unpaired_difference(
    first_correct: int, first_images: int, correct: int, images: int, confidence: float
) -> Difference:
    """Two models on different images: Fisher's exact test, and Newcombe's hybrid interval.

    Newcombe's is method 10 of doi:10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I.
    """
    table = [[correct, images - correct], [first_correct, first_images - first_correct]]
    second = _estimate(correct, images, confidence, "wilson")
    first = _estimate(first_correct, first_images, confidence, "wilson")
    return _square_and_add(second, first, float(stats.fisher_exact(table).pvalue))


def adjust(p_values: Sequence[float]) -> list[float]:
    """p-values of many simultaneous tests, adjusted after Benjamini and Hochberg.

    Of those below 0.05 then, no more than 5 % are expected to be chance.
    """
    adjusted = stats.false_discovery_control(p_values) if p_values else np.empty(0)
    return [float(p) for p in adjusted]


def _estimate(
    successes: int, trials: int, confidence: float, method: Literal["wilson", "exact"]
) -> tuple[float, float, float]:
    """A proportion with the ends of its interval."""
    value = successes / trials if trials else 0.0
    return value, *proportion_interval(successes, trials, confidence, method)


def _square_and_add(
    second: tuple[float, float, float], first: tuple[float, float, float], p: float
) -> Difference:
    """The interval of a difference from the intervals of its two terms."""
    (after, after_low, after_high), (before, before_low, before_high) = second, first
    value = after - before
    return Difference(
        value=value,
        low=value - float(np.hypot(after - after_low, before_high - before)),
        high=value + float(np.hypot(after_high - after, before - before_low)),
        p=p,
    )
