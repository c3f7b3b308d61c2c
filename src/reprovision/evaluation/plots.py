"""Charts as PNG files, drawn with matplotlib: the same figures give the same bytes."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reprovision.core.files import write_bytes
from reprovision.data.sheets import draw_sheet
from reprovision.evaluation.metrics import (
    Bin,
    ClassMetrics,
    Predictions,
    calibration_error,
    confusion_matrix,
    worst_mistakes,
)
from reprovision.training.history import Epoch

BLUE, ORANGE, GREY = "#2563a8", "#d9711c", "#8a8a8a"

LARGEST = 16.0
"""Side of a matrix in inches, at most."""

MANY = 100
"""Classes beyond which details would be too small to read."""

LONGEST = 24
"""Characters of a class's name on an axis, at most."""


def draw_confusion_matrix(predictions: Predictions, path: str | Path) -> None:
    """Counts by actual and predicted class; colour is the share of the actual class."""
    matrix = confusion_matrix(predictions)
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    names = [_short(name) for name in predictions.classes]
    longest = max(map(len, names))
    # room for the names, and for a class as long as the picture stays one that opens everywhere
    side = 0.08 * longest + max(4.5, min(0.5 * len(matrix) + 1, LARGEST))
    figure, axes = _axes("Confusion matrix", "predicted", "actual", (side, side))
    # mistakes are rare: a square root makes one in a hundred visible
    axes.imshow(np.sqrt(share), cmap="Blues", vmin=0, vmax=1)
    size = min(10.0, 45 * LARGEST / len(matrix))
    axes.set_xticks(range(len(matrix)), names, size=size)
    if longest > 3:
        for label in axes.get_xticklabels():
            label.set(rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(matrix)), names, size=size)
    counted = matrix if len(matrix) <= MANY else np.zeros_like(matrix)
    for actual, predicted in np.argwhere(counted):
        colour = "white" if share[actual, predicted] > 0.3 else "black"
        count = f"{matrix[actual, predicted]:,}"
        axes.text(predicted, actual, count, ha="center", va="center", color=colour, size=0.8 * size)
    _save(figure, path)


def draw_recall(classes: list[ClassMetrics], confidence: float, path: str | Path) -> None:
    """Recall of each class with its interval, the lowest first; of many, the lowest only."""
    ordered = sorted(classes, key=lambda c: c.recall)[:MANY]
    height = max(1.8, 1.2 + 0.3 * len(ordered))
    shown = "" if len(classes) <= MANY else f", the lowest {MANY} of {len(classes):,}"
    title = f"Recall by class, with {confidence:.0%} interval{shown}"
    figure, axes = _axes(title, "recall (in brackets: test images of the class)", "", (7.5, height))
    recalls = np.array([c.recall for c in ordered])
    ends = np.array([(c.recall - c.recall_low, c.recall_high - c.recall) for c in ordered])
    rows = range(len(ordered))
    axes.errorbar(recalls, rows, xerr=np.maximum(ends.T, 0), fmt="o", color=BLUE, capsize=3)
    axes.set_yticks(rows, [f"{_short(c.name)} ({c.images:,})" for c in ordered])
    # the lowest recall is at the top
    axes.set_ylim(len(ordered) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.3)
    _save(figure, path)


def draw_reliability(bins: list[Bin], path: str | Path) -> None:
    """Accuracy against confidence: on the diagonal, the model knows what it knows."""
    title = f"Reliability: calibration error {calibration_error(bins):.2%}"
    figure, axes = _axes(title, "confidence", "accuracy", (5, 5))
    axes.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1, label="perfectly calibrated")
    confidences, accuracies = [b.confidence for b in bins], [b.accuracy for b in bins]
    axes.vlines(confidences, confidences, accuracies, color=BLUE, linewidth=1)
    largest = max(b.images for b in bins)
    sizes = [20 + 180 * b.images / largest for b in bins]
    axes.scatter(
        confidences, accuracies, sizes, color=BLUE, label="images of like confidence", alpha=0.7
    )
    axes.legend(loc="lower right")
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    _save(figure, path)


def draw_curves(history: Sequence[Epoch], path: str | Path) -> None:
    """Loss and accuracy by epoch, of training and validation."""
    figure = Figure((9, 3.6), dpi=110, layout="constrained")
    epochs = [e.epoch for e in history]
    for index, (name, title) in enumerate((("loss", "Loss"), ("accuracy", "Accuracy"))):
        axes = figure.add_subplot(1, 2, index + 1)
        _style(axes, title, "epoch", "")
        for split, colour in (("train", BLUE), ("val", ORANGE)):
            values = [getattr(e, f"{split}_{name}") for e in history]
            if None not in values:
                axes.plot(epochs, values, ".-", color=colour, label=split)
        axes.legend()
        axes.grid(alpha=0.3)
    _save(figure, path)


def draw_mistakes(
    images: np.ndarray, predictions: Predictions, count: int, path: str | Path
) -> None:
    """Draws the most confident mistakes with their actual and predicted classes.

    Args:
        images: uint8 (N, C, H, W), those that the predictions are of.
        count: how many to show at most.
    """
    rows = worst_mistakes(predictions, count)
    classes = predictions.classes
    # long names need a line each
    arrow = " → " if max(map(len, classes)) <= 5 else "\n→ "
    captions = [
        f"{classes[predictions.actual[row]]}{arrow}{classes[predictions.predicted[row]]}\n"
        f"{predictions.confidence[row]:.1%} sure"
        for row in rows
    ]
    total = int((~predictions.correct).sum())
    title = f"{len(rows)} of {total:,} mistakes, the most confident first: actual → predicted"
    none = f"No mistakes in {len(predictions.actual):,} images"
    draw_sheet(images[rows], captions, title if total else none, path)


def _short(name: str) -> str:
    """A class's name as an axis can hold it; matplotlib would take dollars for formulas."""
    short = name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"
    return short.replace("$", r"\$")


def _axes(title: str, x: str, y: str, size: tuple[float, float]) -> tuple[Figure, Axes]:
    figure = Figure(size, dpi=110, layout="constrained")
    axes = figure.add_subplot()
    _style(axes, title, x, y)
    return figure, axes


def _style(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, loc="left", fontsize=11)
    axes.set(xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)


def _save(figure: Figure, path: str | Path) -> None:
    content = io.BytesIO()
    # matplotlib would sign the file with its version
    figure.savefig(content, format="png", metadata={"Software": None})
    write_bytes(path, content.getvalue())
