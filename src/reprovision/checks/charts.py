"""The picture of a dataset: images per class and split, and the sizes of its files."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reprovision.checks.images import KINDS, Images, Sizes
from reprovision.core.wording import count
from reprovision.data.dataset import SPLITS
from reprovision.images.charts import (
    BLUE,
    GREY,
    ORANGE,
    default_style,
    save_figure,
    short_name,
    style_axes,
)

MANY = 100
"""Classes beyond which their names would be too small to read."""

COLORS = (BLUE, GREY, ORANGE)
"""Of the splits, and of the kinds of files."""


@default_style
def draw_dataset(images: Images, path: str | Path) -> None:
    """Draws bars for the classes, in their order, and where images are files, a dot for each."""
    classes = len(images.classes)
    height = 3.6 if classes > MANY else max(2.2, 1.2 + 0.22 * classes)
    charts = 1 if images.sizes is None else 2
    figure = Figure((6.5 * charts, max(height, 3.6 if charts == 2 else 0)), dpi=110)
    figure.set_layout_engine("constrained")
    axes = figure.add_subplot(1, charts, 1)
    if classes > MANY:
        _draw_many(axes, images)
    else:
        _draw_classes(axes, images)
    axes.legend(loc="best", fontsize=8)
    if images.sizes is not None:
        _draw_sizes(figure.add_subplot(1, charts, 2), images.sizes)
    save_figure(figure, path)


def _draw_classes(axes: Axes, images: Images) -> None:
    style_axes(axes, f"{short_name(images.name)}: images per class", "images", "")
    rows, start = np.arange(len(images.classes)), np.zeros(len(images.classes), np.int64)
    for split, counts, color in zip(SPLITS, images.counts(), COLORS, strict=True):
        if counts.any():
            axes.barh(rows, counts, left=start, color=color, label=f"{split} ({counts.sum():,})")
        start += counts
    axes.set_yticks(rows, [short_name(name) for name in images.classes], size=8)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    # room for the legend
    axes.set_xlim(0, 1.35 * start.max())
    axes.grid(axis="x", alpha=0.3)


def _draw_many(axes: Axes, images: Images) -> None:
    title = f"{short_name(images.name)}: images of {count(len(images.classes), 'class')}"
    style_axes(axes, title, "classes, the largest first", "images")
    for split, counts, color in zip(SPLITS, images.counts(), COLORS, strict=True):
        if counts.any():
            axes.plot(-np.sort(-counts), color=color, label=f"{split} ({counts.sum():,})")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)


def _draw_sizes(axes: Axes, sizes: Sizes) -> None:
    different = len(np.unique(np.stack([sizes.heights, sizes.widths]), axis=1).T)
    style_axes(axes, f"Files of {different:,} sizes", "width in pixels", "height in pixels")
    for kind, (name, color) in enumerate(zip(KINDS, COLORS, strict=True)):
        rows = sizes.kinds == kind
        if rows.any():
            label = f"{name} ({rows.sum():,})"
            # many files have the same size
            found = np.stack([sizes.widths[rows], sizes.heights[rows]])
            (wide, high), counts = np.unique(found, axis=1, return_counts=True)
            area = 10 + 190 * counts / len(sizes.kinds)
            axes.scatter(wide, high, area, color=color, alpha=0.6, label=label, linewidths=0)
    # however tall the bars of many classes are
    axes.set_box_aspect(0.6)
    axes.set_anchor("N")
    axes.set_xlim(0, 1.1 * sizes.widths.max() + 1)
    axes.set_ylim(0, 1.3 * sizes.heights.max() + 1)
    axes.legend(loc="upper left", fontsize=8)
    axes.grid(alpha=0.3)
