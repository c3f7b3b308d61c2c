"""Charts as PNG files, drawn with matplotlib: the same numbers give the same bytes."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import binned_statistic
from sklearn.metrics import confusion_matrix

from reprovision.core import wording
from reprovision.images.charts import (
    BLUE,
    GREY,
    ORANGE,
    default_style,
    new_axes,
    save_figure,
    short_name,
    style_axes,
)
from reprovision.images.image_grid import draw_image_grid
from reprovision.results.class_metrics import ClassMetrics
from reprovision.results.history import Epoch
from reprovision.results.metrics import SUM_METRICS
from reprovision.results.predictions import Predictions
from reprovision.results.sums import Contributions, Settings

LARGEST = 16.0
"""Side of a matrix in inches, at most."""

MANY = 100
"""Classes beyond which details would be too small to read."""


@default_style
def draw_confusion_matrix(predictions: Predictions, path: str | Path) -> None:
    """Counts by actual and predicted class; colour is the share of the actual class."""
    labels = range(len(predictions.classes))
    matrix = confusion_matrix(predictions.actual, predictions.predicted, labels=labels)
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    names = [short_name(name) for name in predictions.classes]
    longest = max(map(len, names))
    # room for the names, and for a class as long as the picture stays one that opens everywhere
    side = 0.08 * longest + max(4.5, min(0.5 * len(matrix) + 1, LARGEST))
    figure, axes = new_axes("Confusion matrix", "predicted", "actual", (side, side))
    # errors are rare: a square root makes one in a hundred visible
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
    save_figure(figure, path)


@default_style
def draw_recall(classes: list[ClassMetrics], confidence: float, path: str | Path) -> None:
    """Recall of each class with its interval, the lowest first; of many, the lowest only."""
    ordered = sorted(classes, key=lambda c: c.recall)[:MANY]
    height = max(1.8, 1.2 + 0.3 * len(ordered))
    shown = "" if len(classes) <= MANY else f", the lowest {MANY} of {len(classes):,}"
    title = f"Recall by class, with {confidence:.0%} interval{shown}"
    figure, axes = new_axes(
        title, "recall (in brackets: test images of the class)", "", (7.5, height)
    )
    recalls = np.array([c.recall for c in ordered])
    ends = np.array([(c.recall - c.recall_low, c.recall_high - c.recall) for c in ordered])
    rows = range(len(ordered))
    axes.errorbar(recalls, rows, xerr=np.maximum(ends.T, 0), fmt="o", color=BLUE, capsize=3)
    axes.set_yticks(rows, [f"{short_name(c.name)} ({c.images:,})" for c in ordered])
    # the lowest recall is at the top
    axes.set_ylim(len(ordered) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.3)
    save_figure(figure, path)


@default_style
def draw_reliability(predictions: Predictions, bins: int, path: str | Path) -> None:
    """Accuracy against confidence; a perfectly calibrated model lies on the diagonal."""
    sums = Contributions(predictions, Settings(bins)).sums()
    error = SUM_METRICS["calibration_error"].compute(sums)
    title = f"Reliability: expected calibration error {float(error):.2%}"
    figure, axes = new_axes(title, "confidence", "accuracy", (5, 5.4))
    axes.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1, label="perfectly calibrated")
    of_images = predictions.confidence, [predictions.confidence, predictions.correct]
    # empty bins have no mean, and are not drawn
    confidence, accuracy = binned_statistic(*of_images, "mean", bins, (0, 1)).statistic
    images, _ = binned_statistic(*of_images, "count", bins, (0, 1)).statistic
    axes.vlines(confidence, confidence, accuracy, color=BLUE, linewidth=1)
    sizes = 20 + 180 * images / images.max()
    axes.scatter(confidence, accuracy, sizes, color=BLUE, label="images, by confidence", alpha=0.7)
    # below the axes, where there are no data
    figure.legend(loc="outside lower center", ncols=2)
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    save_figure(figure, path)


@default_style
def draw_curves(history: Sequence[Epoch], kept: Epoch, path: str | Path) -> None:
    """Loss and accuracy by epoch, of training and validation, with a line at the kept epoch."""
    figure = Figure((9, 3.6), dpi=110, layout="constrained")
    epochs = [e.epoch for e in history]
    for index, (name, title) in enumerate((("loss", "Loss"), ("accuracy", "Accuracy"))):
        axes = figure.add_subplot(1, 2, index + 1)
        style_axes(axes, title, "epoch", "")
        for split, colour in (("train", BLUE), ("val", ORANGE)):
            values = [getattr(e, f"{split}_{name}") for e in history]
            if None not in values:
                axes.plot(epochs, values, ".-", color=colour, label=split)
        axes.axvline(kept.epoch, color=GREY, linestyle="--", linewidth=1, label="kept")
        axes.legend()
        axes.grid(alpha=0.3)
    save_figure(figure, path)


def draw_errors(images: np.ndarray, predictions: Predictions, count: int, path: str | Path) -> None:
    """Draws the most confident errors with their actual and predicted classes.

    Args:
        images: uint8 (N, C, H, W), those that the predictions are of.
        count: how many to show at most.
    """
    rows = predictions.most_confident_errors(count)
    # long names need one line each
    arrow = " → " if max(map(len, predictions.classes)) <= 5 else "\n→ "
    captions = [_caption(predictions, row, arrow) for row in rows]
    total = int((~predictions.correct).sum())
    title = f"{len(rows)} of {total:,} errors, most confident first: actual → predicted, confidence"
    none = f"No errors in {wording.count(len(predictions), 'image')}"
    draw_image_grid(images[rows], captions, title if total else none, path)


def _caption(p: Predictions, row: int, arrow: str) -> str:
    """Classes and confidence, and the name of the file where there is one."""
    both = f"{p.classes[p.actual[row]]}{arrow}{p.classes[p.predicted[row]]}"
    origin = PurePosixPath(p.origins[row])
    file = f"\n{origin.name}" if origin.suffix else ""
    return f"{both}\n{p.confidence[row]:.1%}{file}"
