"""Limits that a comparison must keep, for scripts and CI."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reprovision.comparison.comparison import Change, Comparison, Verdict
from reprovision.comparison.formatting import named_p, spread
from reprovision.comparison.pairing import Pairing
from reprovision.core.errors import UserError

FAILED = 3
"""Exit status of a failed gate; 1 means an error and 2 a wrong command line."""

ROUNDING = 1e-9
"""A limit of 0.002 is not broken by the last bit of 0.982 - 0.98."""


@dataclass(frozen=True)
class Limit:
    """A metric and a number, e.g. accuracy=0.98."""

    metric: str
    number: float

    def __str__(self) -> str:
        return f"{self.metric}={self.number:g}"


@dataclass(frozen=True)
class Gate:
    """What must hold.

    Attributes:
        refuse_worse: the accuracy must not be significantly worse.
        max_drops: by how much a metric may get worse, significantly or not.
        minima, maxima: for the head's metrics.
    """

    refuse_worse: bool = False
    max_drops: Sequence[Limit] = ()
    minima: Sequence[Limit] = ()
    maxima: Sequence[Limit] = ()

    @property
    def is_open(self) -> bool:
        """No limit is set."""
        return not (self.refuse_worse or self.max_drops or self.minima or self.maxima)


@dataclass(frozen=True)
class Outcome:
    """Whether a comparison passed the gate, and one line that explains it."""

    passed: bool
    line: str


def check(gate: Gate, comparison: Comparison) -> Outcome:
    """Checks a comparison against a gate, which is closed where the results can't be trusted.

    Raises:
        UserError: a limit names an unknown metric.
    """
    broken = list(_broken(gate, comparison))
    if broken:
        return Outcome(False, f"gate failed: {'; '.join(broken)}")
    return Outcome(True, f"gate passed: {', '.join(_kept(gate, comparison))}")


def _broken(gate: Gate, comparison: Comparison) -> Iterator[str]:
    compares = gate.refuse_worse or gate.max_drops
    for run in (comparison.base, comparison.head) if compares else (comparison.head,):
        yield from (warning.removesuffix(".") for warning in run.warnings)
    if compares and comparison.pairing is Pairing.OTHER_DATA:
        yield "nothing was compared, because the two were tested on other data"
    accuracy = comparison.accuracy
    if gate.refuse_worse and comparison.verdict is Verdict.WORSE:
        points, p = spread(accuracy.metric, -accuracy.value), named_p(accuracy.p)
        yield f"accuracy is worse by {points} points ({p}, below {comparison.alpha:g})"
    yield from _broken_limits(gate, comparison)


def _broken_limits(gate: Gate, comparison: Comparison) -> Iterator[str]:
    """Limits that are exceeded, or that name a metric which a run does not have."""
    for limit in gate.max_drops:
        change = _find(limit.metric, comparison)
        verb, drop = "drops", -change.value
        if change.metric.lower_is_better:
            verb, drop = "rises", change.value
        if math.isnan(drop):
            lacking = comparison.base if math.isnan(change.base) else comparison.head
            yield f"{limit.metric} was not compared, because {lacking.name} does not have it"
        elif drop > limit.number + ROUNDING:
            yield f"{limit.metric} {verb} by {drop:.4g}, more than --max-drop {limit} allows"
    bounds = [(limit, -1, "below --min") for limit in gate.minima]
    bounds += [(limit, 1, "above --max") for limit in gate.maxima]
    for limit, sign, where in bounds:
        value = _find(limit.metric, comparison).head
        if math.isnan(value):
            yield f"{comparison.head.name} does not have {limit.metric}"
        elif sign * (value - limit.number) > ROUNDING:
            yield f"{limit.metric} is {value:.4g}, {where} {limit}"


def _kept(gate: Gate, comparison: Comparison) -> Iterator[str]:
    if gate.refuse_worse:
        yield f"not worse (accuracy: {comparison.verdict})"
    yield from (f"--max-drop {limit}" for limit in gate.max_drops)
    yield from (f"--min {limit}" for limit in gate.minima)
    yield from (f"--max {limit}" for limit in gate.maxima)


def _find(metric: str, comparison: Comparison) -> Change:
    known = {change.metric.name: change for change in comparison.metrics}
    known |= {f"recall.{change.title}": change for change in comparison.recalls}
    if metric not in known:
        raise UserError(
            f"a limit names {metric}, which the report does not have: choose one of "
            f"{', '.join(known)}"
        )
    return known[metric]
