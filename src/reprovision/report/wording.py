"""Numbers and verdicts in words, the same in every form of the report."""

from typing import Any

from reprovision.report.comparison import Change, Comparison, Pairing, ParamChange, Verdict
from reprovision.report.results import Results
from reprovision.training.history import Epoch

IN_NATS = ("loss",)
"""Figures that are no fraction of one."""

TITLES = {
    "accuracy": "accuracy",
    "loss": "loss",
    "macro_precision": "macro precision",
    "macro_recall": "macro recall",
    "macro_f1": "macro F1",
    "calibration_error": "calibration error",
}

BARS = "▁▂▃▄▅▆▇█"


def headline(comparison: Comparison) -> str:
    """The verdict on the accuracy as one sentence."""
    accuracy = comparison.accuracy
    base, head = comparison.base.name, comparison.head.name
    both = f"{percent(accuracy.base)} in {base}, {percent(accuracy.head)} in {head}"
    if comparison.pairing is Pairing.OTHER_DATA:
        return f"Not compared: the two were tested on other data. Accuracy: {both}."
    if comparison.identical:
        return f"No difference: both predict the same class for every test image. Accuracy: {both}."
    opening = {
        Verdict.BETTER: f"Better: {head} classifies more images rightly than {base}",
        Verdict.WORSE: f"Worse: {head} classifies fewer images rightly than {base}",
    }.get(comparison.verdict, "No evidence of a difference in accuracy")
    return f"{opening}. Accuracy: {both}, {_gap(comparison)}; {_test(comparison)}."


def _gap(comparison: Comparison) -> str:
    accuracy = comparison.accuracy
    assert accuracy.low is not None and accuracy.high is not None, "it was compared"
    return (
        f"{_signed(100 * accuracy.value, 2)} points ({_confidence(comparison)} interval "
        f"{_signed(100 * accuracy.low, 2)} to {_signed(100 * accuracy.high, 2)})"
    )


def _confidence(comparison: Comparison) -> str:
    return f"{100 * (1 - comparison.alpha):.4g}%"


def _test(comparison: Comparison) -> str:
    p = p_value(comparison.accuracy.p)
    if comparison.pairing is Pairing.DIFFERENT:
        return f"Fisher's exact test p {p}"
    return (
        f"{len(comparison.gained):,} images newly right and {len(comparison.lost):,} newly wrong, "
        f"McNemar's exact test p {p}"
    )


def legend(comparison: Comparison) -> list[str]:
    """How to read the tables."""
    lines = [
        f"Changes of percentages are in points, in brackets their {_confidence(comparison)} "
        "intervals. Of the metrics, only accuracy decides the verdict; the intervals of the others "
        "are bootstrapped, each for itself."
    ]
    if comparison.recalls:
        lines.append(
            f"{len(comparison.recalls)} classes are {len(comparison.recalls)} tests: their p are "
            "adjusted after Benjamini and Hochberg, their intervals are each for itself."
        )
    return lines


def title(name: str) -> str:
    """A metric's name for people."""
    return TITLES.get(name, name)


def value(name: str, number: float) -> str:
    """A figure in its unit."""
    return f"{number:.4f}" if name in IN_NATS else percent(number)


def change(of: Change) -> str:
    """The change with its interval, e.g. `+0.84 (+0.12 to +1.56)`; of percentages in points."""
    scale, digits = (1, 4) if of.name in IN_NATS else (100, 2)
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


def points(fraction: float) -> str:
    """A difference of two percentages: 0.0084 as 0.84 points."""
    return f"{100 * fraction:.2f} points"


def p_value(p: float | None) -> str:
    """As `= 0.031` or `< 0.0001`; empty where there is none."""
    if p is None:
        return ""
    return "< 0.0001" if p < 0.0001 else f"= {p:.2g}"


def param(of: ParamChange) -> tuple[str, str]:
    """The values of base and head as params.yaml has them."""
    return _text(of.base), _text(of.head)


def _text(found: Any) -> str:
    return "null" if found is None else str(found)


def disagreements(comparison: Comparison) -> list[tuple[str, list[int]]]:
    """What the two lists of images are called, and their rows; empty ones are left out."""
    lists = (("Newly wrong", comparison.lost), ("Newly right", comparison.gained))
    return [(name, rows.tolist()) for name, rows in lists if len(rows)]


def image(comparison: Comparison, row: int) -> tuple[str, str, str, str]:
    """A test image: where it came from, its class, and what base and head take it for."""
    p = comparison.head.predictions
    said = [_said(results, row) for results in (comparison.base, comparison.head)]
    return p.origins[row], p.classes[p.actual[row]], said[0], said[1]


def _said(results: Results, row: int) -> str:
    p = results.predictions
    return f"{p.classes[p.predicted[row]]} ({p.confidence[row]:.1%} sure)"


def best_epoch(history: list[Epoch]) -> str:
    """The epoch of the lowest validation loss; without validation, the last."""
    epochs = [e for e in history if e.val_loss is not None and e.val_accuracy is not None]
    if not epochs:
        last = history[-1]
        return (
            f"epoch {last.epoch} of {len(history)}: train_loss {last.train_loss:.4f}, "
            f"train_accuracy {percent(last.train_accuracy)}"
        )
    best = min(epochs, key=lambda e: e.val_loss or 0.0)
    return (
        f"best epoch {best.epoch} of {len(history)}: val_loss {best.val_loss:.4f}, "
        f"val_accuracy {percent(best.val_accuracy or 0.0)}"
    )


def sparkline(history: list[Epoch], ceiling: float, width: int = 40) -> str:
    """The losses by epoch, as `losses_of` gives them, as a line of bars from 0 to a ceiling."""
    losses = losses_of(history)
    step = max(1, -(-len(losses) // width))
    top = len(BARS) - 1
    return "".join(BARS[min(top, int(loss / ceiling * len(BARS)))] for loss in losses[::step])


def losses_of(history: list[Epoch]) -> list[float]:
    """The validation losses, or those of training where there are none."""
    return [e.train_loss if e.val_loss is None else e.val_loss for e in history]
