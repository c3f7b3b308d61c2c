"""Limits that a comparison must keep, for scripts and CI."""

from collections.abc import Sequence
from dataclasses import dataclass

from reprovision.core.errors import UserError
from reprovision.report.comparison import Change, Comparison, Verdict
from reprovision.report.wording import points

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
        """Nothing is asked for."""
        return not (self.refuse_worse or self.max_drops or self.minima or self.maxima)


@dataclass(frozen=True)
class Outcome:
    """Whether the gate let a comparison through, and one line that says why."""

    passed: bool
    line: str


def check(gate: Gate, comparison: Comparison) -> Outcome:
    """Holds a comparison against a gate.

    Raises:
        UserError: a limit names a metric that is not there.
    """
    broken: list[str] = []
    if gate.refuse_worse and comparison.verdict is Verdict.WORSE:
        accuracy = comparison.accuracy
        broken.append(
            f"accuracy is worse by {points(-accuracy.value)} (p = {accuracy.p:.2g}, below "
            f"{comparison.alpha:g})"
        )
    for limit in gate.max_drops:
        change = _find(limit.metric, comparison)
        drop = change.value if change.lower_is_better else -change.value
        if drop > limit.number + ROUNDING:
            verb = "rises" if change.lower_is_better else "drops"
            broken.append(
                f"{limit.metric} {verb} by {drop:.4g}, more than --max-drop {limit} allows"
            )
    for limit in gate.minima:
        value = _find(limit.metric, comparison).head
        if value < limit.number - ROUNDING:
            broken.append(f"{limit.metric} is {value:.4g}, below --min {limit}")
    for limit in gate.maxima:
        value = _find(limit.metric, comparison).head
        if value > limit.number + ROUNDING:
            broken.append(f"{limit.metric} is {value:.4g}, above --max {limit}")
    if broken:
        return Outcome(False, f"gate failed: {'; '.join(broken)}")
    return Outcome(True, f"gate passed: {_reason(gate, comparison)}")


def _reason(gate: Gate, comparison: Comparison) -> str:
    kept = [f"--max-drop {limit}" for limit in gate.max_drops]
    kept += [f"--min {limit}" for limit in gate.minima]
    kept += [f"--max {limit}" for limit in gate.maxima]
    if gate.refuse_worse:
        kept.insert(0, f"not worse (accuracy: {comparison.verdict})")
    return ", ".join(kept)


def _find(metric: str, comparison: Comparison) -> Change:
    known = {change.name: change for change in comparison.metrics()}
    known |= {f"recall.{change.name}": change for change in comparison.recalls}
    if metric not in known:
        raise UserError(
            f"a limit names {metric}, which is no metric: choose one of {', '.join(known)}"
        )
    return known[metric]
