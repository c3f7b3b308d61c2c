"""Two runs side by side: what differs, by how much, and whether that is more than chance."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np

from reprovision.comparison.bootstrap import bootstrap_intervals
from reprovision.comparison.notes import notes_on, notes_on_test_set
from reprovision.comparison.pairing import Pairing, find_pairing, pair, restrict
from reprovision.results.layout import RECEIPT
from reprovision.results.metrics import CURVE_METRICS, METRICS, Metric, measure
from reprovision.results.run import Run, used_params
from reprovision.results.statistics import (
    Difference,
    adjust,
    paired_difference,
    unpaired_difference,
)
from reprovision.results.sums import Settings

DEFAULTS = Settings(bins=15, top_k=3)
"""For runs of other versions, whose params may not name them."""

MOST_BINS = 100
"""As `evaluate.bins` allows."""


class Verdict(StrEnum):
    """How the head compares with the base."""

    BETTER = "better"
    WORSE = "worse"
    NO_EVIDENCE = "no evidence"
    NOT_TESTED = "not tested"
    NOT_COMPARED = "not compared"


@dataclass(frozen=True)
class Change:
    """A metric of both runs, and its change.

    Attributes:
        metric: what is compared; a recall is in the same unit as accuracy.
        title: for people; the class for a recall.
        base, head: NaN where a run does not define the metric.
        low, high: interval of head minus base; None where the two are not compared.
        p: of the hypothesis that nothing changed; None where only the interval is known.
        verdict: by p where there is one, else by the interval.
    """

    metric: Metric
    title: str
    base: float
    head: float
    low: float | None
    high: float | None
    p: float | None
    verdict: Verdict

    @property
    def value(self) -> float:
        """Head minus base."""
        return self.head - self.base


@dataclass(frozen=True)
class ParamChange:
    """A param with different values; None where it is missing."""

    name: str
    base: Any
    head: Any


@dataclass(frozen=True)
class Comparison:
    """Everything that a report states about two runs.

    Attributes:
        alpha: level of the tests; the intervals are of 1 - alpha.
        accuracy: what the verdict rests on.
        metrics: all metrics, accuracy first.
        recalls: of each class; their p are adjusted for their number. Empty where the classes
            differ.
        fixed, regressed: indices of the test images that only the head, or only the base,
            classifies correctly; the most confident errors of the other come first. Empty unless
            paired.
        notes: sentences that a reader should know.
        identical_outputs: the number of outputs where all are the same bytes; 0 where one differs.
    """

    base: Run
    head: Run
    alpha: float
    pairing: Pairing
    params: list[ParamChange]
    metrics: list[Change]
    recalls: list[Change]
    fixed: np.ndarray
    regressed: np.ndarray
    notes: list[str]
    identical_outputs: int

    @property
    def accuracy(self) -> Change:
        return self.metrics[0]

    @property
    def verdict(self) -> Verdict:
        return self.accuracy.verdict

    @property
    def same_predictions(self) -> bool:
        """Both predict the same class for every image of the same test set."""
        pairs = self.base.predictions.predicted, self.head.predictions.predicted
        return self.pairing.is_paired and np.array_equal(*pairs)


def compare(base: Run, head: Run, alpha: float) -> Comparison:
    """Compares two runs.

    Args:
        alpha: how often a test may find a difference where there is none, e.g. 0.05.

    Raises:
        UserError: a run lacks its predictions, or the two name the same test set, but list other
            images.
    """
    pairing = find_pairing(base, head)
    notes = list(notes_on(base, head, pairing))
    if pairing is Pairing.SAME:
        base = pair(base, head)
    elif pairing is Pairing.SHARED:
        base, head = restrict(base, head)
    identical = _count_identical(base, head)
    fixed = regressed = np.empty(0, np.int64)
    if pairing.is_paired:
        fixed, regressed = _only_correct_in(head, base), _only_correct_in(base, head)
    return Comparison(
        base=base,
        head=head,
        alpha=alpha,
        pairing=pairing,
        params=_param_changes(used_params(base.params), used_params(head.params)),
        metrics=list(_metrics(base, head, pairing, alpha)),
        recalls=_recalls(base, head, pairing, alpha),
        fixed=fixed,
        regressed=regressed,
        notes=list(notes_on_test_set(head)) if identical else notes,
        identical_outputs=identical,
    )


def _count_identical(base: Run, head: Run) -> int:
    """See `Comparison`.

    The receipt of MLflow's run does not count: it names all params, also those of tracking.
    """
    before, after = (
        {path: md5 for path, md5 in run.outputs.items() if path != RECEIPT.as_posix()}
        for run in (base, head)
    )
    return 0 if before != after or base.warnings or head.warnings else len(after)


def _only_correct_in(run: Run, other: Run) -> np.ndarray:
    """Indices of the images that a run classifies correctly and the other does not."""
    rows = np.flatnonzero(run.predictions.correct & ~other.predictions.correct)
    return rows[np.argsort(-other.predictions.confidence[rows], kind="stable")]


def _param_changes(base: dict[str, Any], head: dict[str, Any]) -> list[ParamChange]:
    changes = [ParamChange(name, base.get(name), head.get(name)) for name in {**base, **head}]
    return [change for change in changes if change.base != change.head]


def _metrics(base: Run, head: Run, pairing: Pairing, alpha: float) -> Iterator[Change]:
    accuracy = METRICS["accuracy"]
    correct = base.predictions.correct, head.predictions.correct
    yield _proportion(accuracy, accuracy.title, *correct, pairing, alpha)
    # the head's settings for both: calibration errors over other bins can't be compared
    settings = _settings(head)
    values = [_measured(run, alpha, settings) for run in (base, head)]
    if pairing is Pairing.SHARED:
        # results/test.json is on all images
        values = [{n: v for n, v in found.items() if n not in CURVE_METRICS} for found in values]
    intervals: dict[str, tuple[float, float]] = {}
    if pairing is not Pairing.OTHER_DATA:
        predictions = base.predictions, head.predictions
        intervals = bootstrap_intervals(*predictions, pairing.is_paired, 1 - alpha, settings)
    for name, metric in METRICS.items():
        if metric is accuracy or not any(name in metrics for metrics in values):
            continue
        before, after = (metrics.get(name, math.nan) for metrics in values)
        low, high = intervals.get(name, (None, None))
        verdict = Verdict.NOT_COMPARED
        if low is not None and high is not None:
            verdict = _verdict(metric, after - before, low > 0 or high < 0)
        elif name in CURVE_METRICS and intervals and all(name in metrics for metrics in values):
            verdict = Verdict.NOT_TESTED
        yield Change(metric, metric.titled(settings), before, after, low, high, None, verdict)


def _measured(run: Run, alpha: float, settings: Settings) -> dict[str, float]:
    """What can be measured anew with some settings, and what only results/test.json has."""
    curves = {name: run.metrics[name] for name in CURVE_METRICS if name in run.metrics}
    return measure(run.predictions, 1 - alpha, settings) | curves


def _settings(run: Run) -> Settings:
    """The settings of a run, which may be of another version, or not ours."""
    bins, top_k = (run.params.get(f"evaluate.{name}") for name in ("bins", "top_k"))
    return Settings(
        bins if isinstance(bins, int) and 2 <= bins <= MOST_BINS else DEFAULTS.bins,
        top_k if isinstance(top_k, int) else DEFAULTS.top_k,
    )


def _recalls(base: Run, head: Run, pairing: Pairing, alpha: float) -> list[Change]:
    """The recall of each class, p adjusted for their number after Benjamini and Hochberg."""
    if pairing is Pairing.OTHER_DATA:
        return []
    metric, changes = METRICS["balanced_accuracy"], []
    for label, name in enumerate(head.dataset.classes):
        before, after = (p.correct[p.actual == label] for p in (base.predictions, head.predictions))
        changes.append(_proportion(metric, name, before, after, pairing, alpha))
    p_values = adjust([change.p for change in changes if change.p is not None])
    return [
        replace(change, p=p, verdict=_verdict(metric, change.value, p < alpha))
        for change, p in zip(changes, p_values, strict=True)
    ]


def _proportion(
    metric: Metric,
    title: str,
    base: np.ndarray,
    head: np.ndarray,
    pairing: Pairing,
    alpha: float,
) -> Change:
    """The share of images that are classified correctly; base and head are bool (images,)."""
    difference: Difference | None = None
    if pairing.is_paired:
        fixed, regressed = int((head & ~base).sum()), int((base & ~head).sum())
        difference = paired_difference(fixed, regressed, len(head), 1 - alpha)
    elif pairing is Pairing.DIFFERENT:
        counts = int(base.sum()), len(base), int(head.sum()), len(head)
        difference = unpaired_difference(*counts, 1 - alpha)
    before, after = (float(c.mean()) if len(c) else 0.0 for c in (base, head))
    if difference is None:
        return Change(metric, title, before, after, None, None, None, Verdict.NOT_COMPARED)
    low, high, p = difference.low, difference.high, difference.p
    verdict = _verdict(metric, difference.value, p < alpha)
    return Change(metric, title, before, after, low, high, p, verdict)


def _verdict(metric: Metric, change: float, significant: bool) -> Verdict:
    if not significant:
        return Verdict.NO_EVIDENCE
    return Verdict.BETTER if (change > 0) != metric.lower_is_better else Verdict.WORSE
