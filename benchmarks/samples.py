"""What a measurement gives: numbers by name, and what several of them amount to."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    """One measurement.

    Attributes:
        case: what was measured, e.g. a recipe.
        variant: which of the things that are compared.
        round: counted from 0; samples of one round ran one right after the other.
        values: e.g. ``{"seconds": 0.9}``.
    """

    case: str
    variant: str
    round: int
    values: dict[str, float]


@dataclass(frozen=True)
class Row:
    """A line of a part's table.

    Attributes:
        what: was measured.
        ours, other: with their spread; other is empty where nothing is compared.
        result: what the target is about.
        target: in words; empty where there is none.
        met: None where there is no target.
        obstacle: what stands in the way where the target is missed.
    """

    what: str
    ours: str
    other: str
    result: str
    target: str = ""
    met: bool | None = None
    obstacle: str = ""


def cases(samples: Sequence[Sample]) -> list[str]:
    """The cases in the order they were measured in."""
    return list(dict.fromkeys(sample.case for sample in samples))


def series(samples: Sequence[Sample], case: str, variant: str, name: str) -> list[float]:
    """One value of each round, in order."""
    return [s.values[name] for s in samples if (s.case, s.variant) == (case, variant)]


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Pair by pair: what slows down a whole round then cancels out."""
    return [a / b for a, b in zip(numerators, denominators, strict=True)]


def median(values: Sequence[float]) -> float:
    """The middle value: a single disturbance doesn't move it."""
    return statistics.median(values)


def spread(values: Sequence[float], unit: str, digits: int = 2) -> str:
    """Median, range and n, e.g. `0.86 s (0.77 to 0.89, n=5)`."""
    middle = f"{median(values):,.{digits}f} {unit}"
    if len(values) == 1:
        return f"{middle} (n=1)"
    return f"{middle} ({min(values):,.{digits}f} to {max(values):,.{digits}f}, n={len(values)})"


def mean_and_sd(values: Sequence[float], unit: str, digits: int = 2) -> str:
    """Mean, standard deviation and n, e.g. `99.09 % ± 0.08 (n=5)`."""
    mean = f"{statistics.fmean(values):,.{digits}f} {unit}"
    if len(values) == 1:
        return f"{mean} (n=1)"
    return f"{mean} ± {statistics.stdev(values):.{digits}f} (n={len(values)})"
