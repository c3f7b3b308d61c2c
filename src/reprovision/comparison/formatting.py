"""Numbers and verdicts as text, the same in every form of the reports."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reprovision.comparison.comparison import Change, Comparison, Verdict
from reprovision.comparison.pairing import Pairing
from reprovision.core.wording import count
from reprovision.core.yaml_files import as_text
from reprovision.results.history import Epoch, kept_epoch
from reprovision.results.metrics import Metric
from reprovision.results.run import Run

BARS = "▁▂▃▄▅▆▇█"

SAME_PARAMS = "All params are the same."


@dataclass(frozen=True)
class Table:
    """Text cells under a header, which each form of the report draws in its way.

    A cell that is a `Verdict` is coloured.
    """

    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def headline(comparison: Comparison) -> str:
    """The verdict on the accuracy as one sentence."""
    accuracy = comparison.accuracy
    base, head = _names(comparison)
    both = f"{percent(accuracy.base)} in {base}, {percent(accuracy.head)} in {head}"
    if comparison.pairing is Pairing.OTHER_DATA:
        return f"Not compared: the two were tested on other data. Accuracy: {both}."
    if outputs := comparison.identical_outputs:
        both = f"all {outputs} outputs of {head} are those of {base}, byte for byte, by dvc.lock"
        return f"Identical: {both}. Accuracy: {percent(accuracy.head)}."
    if comparison.same_predictions:
        return f"No difference: both predict the same class for every test image. Accuracy: {both}."
    opening = {
        Verdict.BETTER: f"Better: {head} classifies more images correctly than {base}",
        Verdict.WORSE: f"Worse: {head} classifies fewer images correctly than {base}",
    }.get(comparison.verdict, "No evidence of a difference in accuracy")
    assert accuracy.low is not None and accuracy.high is not None, "it was compared"
    gain, low, high = (_signed(100 * x, 2) for x in (accuracy.value, accuracy.low, accuracy.high))
    interval = f"{_confidence(comparison)} interval {low} to {high}"
    return f"{opening}. Accuracy: {both}, {gain} points ({interval}); {_test(comparison)}."


def _confidence(comparison: Comparison) -> str:
    return f"{100 * (1 - comparison.alpha):.4g}%"


def _test(comparison: Comparison) -> str:
    p = named_p(comparison.accuracy.p)
    if comparison.pairing is Pairing.DIFFERENT:
        return f"Fisher's exact test {p}"
    return (
        f"{count(len(comparison.fixed), 'image')} fixed and {len(comparison.regressed):,} "
        f"regressed, McNemar's exact test {p}"
    )


def legend(comparison: Comparison) -> Iterator[str]:
    """How to read the tables."""
    yield (
        f"Changes of percentages are in points, in brackets their {_confidence(comparison)} "
        "intervals. Only accuracy decides the verdict; the intervals of the other metrics are "
        "bootstrapped, each on its own."
    )
    curves = [c.title for c in comparison.metrics if c.verdict is Verdict.NOT_TESTED]
    if curves:
        yield (
            f"The {' and '.join(curves)} needs the probabilities of all classes, which are not in "
            "Git: it is that of results/test.json, and not tested."
        )
    if any(math.isnan(c.value) for c in comparison.metrics):
        yield (
            "A dash: the results of that revision do not have the metric, e.g. because they are of "
            "an older version."
        )
    if comparison.recalls:
        yield (
            f"{len(comparison.recalls)} classes are {len(comparison.recalls)} tests: their p are "
            "adjusted after Benjamini and Hochberg, their intervals are not."
        )


def spread(metric: Metric, number: float) -> str:
    """A difference in the metric's unit, without its sign; of percentages in points."""
    return f"{100 * number:.2f}" if metric.unit == "fraction" else f"{number:.4f}"


def change(of: Change) -> str:
    """The change with its interval, e.g. `+0.84 (+0.12 to +1.56)`; of percentages in points.

    Empty where a run does not define the metric.
    """
    if math.isnan(of.value):
        return ""
    scale, digits = (100, 2) if of.metric.unit == "fraction" else (1, 4)
    shown = _signed(scale * of.value, digits)
    if of.low is None or of.high is None:
        return shown
    return f"{shown} ({_signed(scale * of.low, digits)} to {_signed(scale * of.high, digits)})"


def _signed(number: float, digits: int) -> str:
    """With its sign; what rounds to zero is +0, not -0."""
    return f"{round(number, digits) + 0.0:+.{digits}f}"


def percent(fraction: float) -> str:
    """0.9721 as 97.21%."""
    return f"{fraction:.2%}"


def p_value(p: float | None) -> str:
    """As `0.031` or `< 0.0001`; empty where there is none."""
    if p is None:
        return ""
    return "< 0.0001" if p < 0.0001 else f"{p:.2g}"


def named_p(p: float | None) -> str:
    """As `p = 0.031` or `p < 0.0001`; empty where there is none."""
    if p is None:
        return ""
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.2g}"


def params_table(comparison: Comparison) -> Table:
    """The params that differ."""
    rows = [(c.name, as_text(c.base), as_text(c.head)) for c in comparison.params]
    return Table(("param", *_names(comparison)), rows)


def metrics_table(comparison: Comparison) -> Table:
    """All metrics with their changes and verdicts."""
    return _changes("metric", comparison.metrics, comparison)


def recalls_table(comparison: Comparison, heading: str, most: int | None = None) -> Table:
    """The recall of each class; of more than `most`, those that changed most."""
    changes = comparison.recalls
    if most is not None:
        changes = sorted(changes, key=lambda c: (c.p or 0.0, -abs(c.value)))[:most]
    return _changes(heading, changes, comparison)


def _changes(heading: str, changes: list[Change], comparison: Comparison) -> Table:
    rows = []
    for c in changes:
        both = c.metric.text(c.base), c.metric.text(c.head)
        rows.append((c.title, *both, change(c), p_value(c.p), c.verdict))
    return Table((heading, *_names(comparison), "change", "p", "verdict"), rows)


def fold(table: Table, always: int) -> tuple[Table, Table]:
    """A table of changes in two: those to look at, and those without evidence of a change.

    Args:
        always: how many of its first rows are always among the former.
    """
    rows = list(enumerate(table.rows))
    folded = [row for i, row in rows if i >= always and row[-1] is Verdict.NO_EVIDENCE]
    shown = [row for i, row in rows if i < always or row[-1] is not Verdict.NO_EVIDENCE]
    return Table(table.columns, shown), Table(table.columns, folded)


def disagreements(comparison: Comparison, most: int) -> Iterator[tuple[str, list[int], Table]]:
    """The test images that regressed and those that were fixed, if there are any.

    Yields:
        a title; the indices of the first `most` images; a row for each of them: where it comes
        from, its class, and the predictions of base and head.
    """
    for title, images in (("Regressed", comparison.regressed), ("Fixed", comparison.fixed)):
        if len(images):
            indices = images[:most].tolist()
            rows = [_image(comparison, index) for index in indices]
            table = Table(("image", "actual", *_names(comparison)), rows)
            of = f"{len(indices)} of {count(len(images), 'image')}"
            yield f"{title}: {of}, most confident errors first", indices, table


def _names(comparison: Comparison) -> tuple[str, str]:
    return comparison.base.name, comparison.head.name


def _image(comparison: Comparison, row: int) -> tuple[str, ...]:
    p = comparison.head.predictions
    predicted = (_predicted(run, row) for run in (comparison.base, comparison.head))
    return p.origins[row], p.classes[p.actual[row]], *predicted


def _predicted(run: Run, row: int) -> str:
    p = run.predictions
    return f"{p.classes[p.predicted[row]]} ({p.confidence[row]:.1%})"


def curves_table(comparison: Comparison) -> Table:
    """For each run with a history: its name, its loss by epoch as bars, and the epoch it kept."""
    known = [(run, run.history) for run in (comparison.base, comparison.head) if run.history]
    ceiling = max((loss for _, history in known for loss in _losses(history)), default=0.0) or 1.0
    rows = [(run.name, _sparkline(of, ceiling), _kept(run, of)) for run, of in known]
    return Table(("training", "loss by epoch", ""), rows)


def _kept(run: Run, history: Sequence[Epoch]) -> str:
    kept = kept_epoch(history, str(run.params.get("train.keep")))
    where = f"kept epoch {kept.epoch} of {len(history)}"
    if kept.val_loss is None:
        accuracy = percent(kept.train_accuracy)
        return f"{where}: train_loss {kept.train_loss:.4f}, train_accuracy {accuracy}"
    accuracy = percent(kept.val_accuracy or 0.0)
    return f"{where}: val_loss {kept.val_loss:.4f}, val_accuracy {accuracy}"


def _sparkline(history: Sequence[Epoch], ceiling: float, width: int = 40) -> str:
    """The losses by epoch as a line of bars from 0 to a ceiling."""
    losses = _losses(history)
    step = max(1, -(-len(losses) // width))
    top = len(BARS) - 1
    return "".join(BARS[min(top, int(loss / ceiling * len(BARS)))] for loss in losses[::step])


def _losses(history: Sequence[Epoch]) -> list[float]:
    """The validation losses, or those of training where there are none."""
    return [e.train_loss if e.val_loss is None else e.val_loss for e in history]
