"""Two results put side by side: what differs, by how much, and whether that is more than chance."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from reprovision.core.errors import UserError
from reprovision.evaluation.metrics import Metrics, measure
from reprovision.report.resampling import FIGURES, figure_intervals
from reprovision.report.results import Results
from reprovision.report.statistics import (
    Difference,
    adjust,
    paired_difference,
    unpaired_difference,
)

LOWER_IS_BETTER = ("loss", "calibration_error")


class Verdict(StrEnum):
    """What a test says of the head, compared with the base."""

    BETTER = "better"
    WORSE = "worse"
    NO_EVIDENCE = "no evidence"
    NOT_COMPARED = "not compared"


class Pairing(StrEnum):
    """How the two test sets relate."""

    SAME = "same images"
    DIFFERENT = "different images"
    OTHER_DATA = "other data"


@dataclass(frozen=True)
class Change:
    """A figure of both, and its change.

    Attributes:
        low, high: interval of head minus base; None where the two are not compared.
        p: of the hypothesis that nothing changed; None where only the interval is known.
        verdict: by p where there is one, else by the interval.
        images: in the head's test set that the figure is over.
    """

    name: str
    base: float
    head: float
    low: float | None
    high: float | None
    p: float | None
    verdict: Verdict
    images: int

    @property
    def value(self) -> float:
        """Head minus base."""
        return self.head - self.base

    @property
    def lower_is_better(self) -> bool:
        return self.name in LOWER_IS_BETTER


@dataclass(frozen=True)
class ParamChange:
    """A param of different values; None where it is missing."""

    name: str
    base: Any
    head: Any


@dataclass(frozen=True)
class Comparison:
    """Everything that a report says of two results.

    Attributes:
        alpha: level of the tests; the intervals are of 1 - alpha.
        accuracy: what the verdict rests on.
        figures: the other figures.
        recalls: of each class; their p are adjusted for their number. Empty where the classes
            differ.
        gained, lost: indices of the test images that only the head, or only the base, gets right,
            those first on which the other was surest of its mistake. Empty unless paired.
        notes: sentences that a reader should know.
    """

    base: Results
    head: Results
    alpha: float
    pairing: Pairing
    params: list[ParamChange]
    accuracy: Change
    figures: list[Change]
    recalls: list[Change]
    gained: np.ndarray
    lost: np.ndarray
    notes: list[str]

    @property
    def verdict(self) -> Verdict:
        return self.accuracy.verdict

    @property
    def identical(self) -> bool:
        """Both predict the same class for every image of the same test set."""
        ours, theirs = self.base.predictions.predicted, self.head.predictions.predicted
        return self.pairing is Pairing.SAME and np.array_equal(ours, theirs)

    def metrics(self) -> list[Change]:
        """Accuracy and the other figures."""
        return [self.accuracy, *self.figures]


def compare(base: Results, head: Results, alpha: float) -> Comparison:
    """Compares two results.

    Args:
        alpha: how often a test may find a difference where there is none, e.g. 0.05.

    Raises:
        UserError: the two claim the same test set, but list other images.
    """
    pairing = _pairing(base, head)
    if pairing is Pairing.SAME:
        gained, lost = _disagreements(base, head), _disagreements(head, base)
    else:
        gained = lost = np.empty(0, np.int64)
    return Comparison(
        base=base,
        head=head,
        alpha=alpha,
        pairing=pairing,
        params=_param_changes(base.params, head.params),
        accuracy=_accuracy(base, head, pairing, alpha),
        figures=_figures(base, head, pairing, alpha),
        recalls=_recalls(base, head, pairing, alpha),
        gained=gained,
        lost=lost,
        notes=_notes(base, head, pairing),
    )


def _pairing(base: Results, head: Results) -> Pairing:
    if base.dataset.classes != head.dataset.classes:
        return Pairing.OTHER_DATA
    if base.dataset.sha256["test"] != head.dataset.sha256["test"]:
        # another task is neither better nor worse solved
        same_source = base.dataset.name == head.dataset.name
        return Pairing.DIFFERENT if same_source else Pairing.OTHER_DATA
    if not np.array_equal(base.predictions.actual, head.predictions.actual):
        raise UserError(
            f"{base.revision.title} and {head.revision.title} name the same test set, but their "
            "results/predictions.csv list other labels: run `dvc repro` for both"
        )
    return Pairing.SAME


def _disagreements(wrong: Results, right: Results) -> np.ndarray:
    """Indices of the images that only the second gets right, the first's surest mistakes first."""
    rows = np.flatnonzero(~wrong.predictions.correct & right.predictions.correct)
    return rows[np.argsort(-wrong.predictions.confidence[rows], kind="stable")]


def _param_changes(base: dict[str, Any], head: dict[str, Any]) -> list[ParamChange]:
    names = dict.fromkeys([*base, *head])
    both = [ParamChange(name, base.get(name), head.get(name)) for name in names]
    return [change for change in both if change.base != change.head]


def _accuracy(base: Results, head: Results, pairing: Pairing, alpha: float) -> Change:
    ours, theirs = base.predictions.correct, head.predictions.correct
    return _proportion("accuracy", ours, theirs, pairing, alpha)


def _recalls(base: Results, head: Results, pairing: Pairing, alpha: float) -> list[Change]:
    """The recall of each class; Benjamini and Hochberg's adjustment answers their number."""
    if pairing is Pairing.OTHER_DATA:
        return []
    changes = []
    for label, name in enumerate(head.dataset.classes):
        ours = base.predictions.correct[base.predictions.actual == label]
        theirs = head.predictions.correct[head.predictions.actual == label]
        changes.append(_proportion(name, ours, theirs, pairing, alpha))
    p_values = adjust([change.p for change in changes if change.p is not None])
    return [
        Change(**{**vars(change), "p": p, "verdict": _verdict(change.value, p < alpha)})
        for change, p in zip(changes, p_values, strict=True)
    ]


def _proportion(
    name: str, base: np.ndarray, head: np.ndarray, pairing: Pairing, alpha: float
) -> Change:
    """The share of images that are classified rightly, bool (N,) of both."""
    found: Difference | None = None
    if pairing is Pairing.SAME:
        gained, lost = int((head & ~base).sum()), int((base & ~head).sum())
        found = paired_difference(gained, lost, len(head), 1 - alpha)
    elif pairing is Pairing.DIFFERENT:
        right = int(base.sum()), len(base), int(head.sum()), len(head)
        found = unpaired_difference(*right, 1 - alpha)
    shares = [float(right.mean()) if len(right) else 0.0 for right in (base, head)]
    return Change(
        name=name,
        base=shares[0],
        head=shares[1],
        low=found.low if found else None,
        high=found.high if found else None,
        p=found.p if found else None,
        verdict=_verdict(found.value, found.p < alpha) if found else Verdict.NOT_COMPARED,
        images=len(head),
    )


def _figures(base: Results, head: Results, pairing: Pairing, alpha: float) -> list[Change]:
    # the head's bins for both: figures of other bins can't be compared
    bins = int(head.params["evaluate.bins"])
    ours, theirs = (_measured(results, bins, alpha) for results in (base, head))
    intervals: dict[str, tuple[float, float]] = {}
    if pairing is not Pairing.OTHER_DATA:
        intervals = figure_intervals(
            base.predictions, head.predictions, pairing is Pairing.SAME, 1 - alpha, bins
        )
    return [
        _figure(name, getattr(ours, name), getattr(theirs, name), intervals, theirs.images)
        for name in FIGURES
    ]


def _measured(results: Results, bins: int, alpha: float) -> Metrics:
    return measure(results.predictions, 1 - alpha, bins)


def _figure(
    name: str, base: float, head: float, intervals: dict[str, tuple[float, float]], images: int
) -> Change:
    low, high = intervals.get(name, (None, None))
    verdict = Verdict.NOT_COMPARED
    if low is not None and high is not None:
        rises = head - base if name not in LOWER_IS_BETTER else base - head
        verdict = _verdict(rises, low > 0 or high < 0)
    return Change(name, base, head, low, high, None, verdict, images)


def _verdict(improvement: float, significant: bool) -> Verdict:
    if not significant:
        return Verdict.NO_EVIDENCE
    return Verdict.BETTER if improvement > 0 else Verdict.WORSE


def _notes(base: Results, head: Results, pairing: Pairing) -> list[str]:
    notes = [*base.doubts, *(doubt for doubt in head.doubts if doubt not in base.doubts)]
    if pairing is not Pairing.SAME:
        notes.append(_test_sets(base, head, pairing))
    if base.dataset.sha256["train"] != head.dataset.sha256["train"]:
        notes.append(
            f"The training images differ: {base.dataset.images['train']:,} in {base.name}, "
            f"{head.dataset.images['train']:,} in {head.name}."
        )
    missing = [results.name for results in (base, head) if results.history is None]
    if missing:
        notes.append(
            f"The training curves of {' and '.join(missing)} are left out: results/history.csv of "
            "that revision is not in DVC's cache; with a remote, "
            "`dvc fetch --all-commits results/history.csv` brings it."
        )
    return notes


def _test_sets(base: Results, head: Results, pairing: Pairing) -> str:
    sizes = " and ".join(
        f"{len(results.predictions.actual):,} images of {results.dataset.name} in {results.name}"
        for results in (base, head)
    )
    if pairing is Pairing.OTHER_DATA:
        return f"The data differ ({sizes}): the figures stand side by side, and are not compared."
    return (
        f"The test sets differ ({sizes}): the two are compared as independent samples, which finds "
        "only larger differences than a comparison image by image."
    )
