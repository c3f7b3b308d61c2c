"""The page's plots."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.samples import Sample, cases, median, series
from reprovision.core.files import write_bytes

BLUE, GREEN, ORANGE, GREY = "#2563a8", "#2e8b57", "#d9711c", "#8a8a8a"


def draw_fast(samples: Sequence[Sample], path: Path) -> None:
    """Test accuracy by seconds of training, a dot a run."""
    figure, axes = _axes((6.5, 4), "To 99 % of MNIST's test images", "seconds of training")
    scripts = {
        "ours": (BLUE, "recipe fast"),
        "tuned": (ORANGE, "tuned script"),
        "classic": (GREY, "classic example"),
    }
    for variant, (colour, label) in scripts.items():
        seconds, accuracy = (
            series(samples, "fast", variant, name) for name in ("seconds", "accuracy")
        )
        axes.scatter(seconds, accuracy, 45, color=colour, label=label, alpha=0.8)
    axes.axhline(99, color=GREY, linewidth=1, linestyle="--")
    axes.set_xscale("log")
    axes.set_xticks([1, 10, 100], ["1 s", "10 s", "100 s"])
    axes.set_ylabel("test accuracy in %")
    axes.legend(loc="lower right")
    _save(figure, path)


def draw_recipes(samples: Sequence[Sample], path: Path) -> None:
    """Images/s of each recipe in both loops."""
    recipes = cases(samples)
    title = "Training: thousand images a second"
    figure, axes = _axes((7.5, 4), title, "")
    variants = {
        "tutorial": (GREY, "tutorial's loop"),
        "portable": (GREEN, "ours, portable"),
        "fp32": (ORANGE, "ours, native fp32"),
        "auto": (BLUE, "ours, native, precision auto"),
    }
    for index, (variant, (colour, label)) in enumerate(variants.items()):
        rates = [median(series(samples, r, variant, "images_per_second")) / 1000 for r in recipes]
        places = np.arange(len(recipes)) + (index - 1.5) * 0.21
        bars = axes.bar(places, rates, 0.19, color=colour, label=label)
        axes.bar_label(bars, fmt="%.0f", fontsize=8)
    axes.set_xticks(range(len(recipes)), recipes)
    axes.legend()
    _save(figure, path)


def draw_scale(samples: Sequence[Sample], path: Path) -> None:
    """Time and memory by number of images, both axes logarithmic."""
    figure = Figure((9, 3.8), dpi=110, layout="constrained")
    panels = (("seconds", "Time", "seconds"), ("peak_mib", "Peak resident memory", "MiB"))
    for index, (name, title, unit) in enumerate(panels):
        axes = figure.add_subplot(1, 2, index + 1)
        _style(axes, title, "images")
        for variant, colour in (("prepare", ORANGE), ("train", BLUE)):
            chosen = [s for s in samples if s.variant == variant]
            sizes, values = [int(s.case) for s in chosen], [s.values[name] for s in chosen]
            label = "one epoch of training" if variant == "train" else variant
            axes.loglog(sizes, values, "o-", color=colour, label=label)
            if name == "seconds":
                line = [values[-1] * size / sizes[-1] for size in sizes]
                axes.loglog(sizes, line, ":", color=colour, linewidth=1)
        if name == "seconds":
            axes.plot([], [], ":", color=GREY, label="exactly linear")
        else:
            axes.set_ylim(50, 5000)
        axes.set_ylabel(unit)
        axes.grid(alpha=0.3)
        axes.legend()
    _save(figure, path)


PLOTS: dict[str, Callable[[Sequence[Sample], Path], None]] = {
    "fast": draw_fast,
    "recipes": draw_recipes,
    "scale": draw_scale,
}


def _axes(size: tuple[float, float], title: str, x: str) -> tuple[Figure, Axes]:
    figure = Figure(size, dpi=110, layout="constrained")
    axes = figure.add_subplot()
    _style(axes, title, x)
    return figure, axes


def _style(axes: Axes, title: str, x: str) -> None:
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel(x)
    axes.spines[["top", "right"]].set_visible(False)


def _save(figure: Figure, path: Path) -> None:
    content = io.BytesIO()
    # matplotlib would sign the file with its version
    figure.savefig(content, format="png", metadata={"Software": None})
    write_bytes(path, content.getvalue())
