"""How all charts look, as PNG files that matplotlib draws: the same numbers give the same bytes."""

import io
import warnings
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reprovision.core.files import write_bytes
from reprovision.images.fonts import font_families

Draw = ParamSpec("Draw")

BLUE, ORANGE, GREY = "#2563a8", "#d9711c", "#8a8a8a"

LONGEST = 24
"""Characters of a class's name on an axis, at most."""


def default_style(draw: Callable[Draw, None]) -> Callable[Draw, None]:
    """Draws as matplotlib comes, whatever a user's matplotlibrc says, with fonts of packages."""

    @wraps(draw)
    def drawn(*args: Draw.args, **kwargs: Draw.kwargs) -> None:
        with style.context(["default", {"font.family": font_families()}]):
            draw(*args, **kwargs)

    return drawn


def short_name(name: str) -> str:
    """A class's name as an axis can hold it; matplotlib reads dollars as formulas."""
    short = name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"
    return short.replace("$", r"\$")


def new_axes(title: str, x: str, y: str, size: tuple[float, float]) -> tuple[Figure, Axes]:
    """A figure of a size in inches with a single chart."""
    figure = Figure(size, dpi=110, layout="constrained")
    axes = figure.add_subplot()
    style_axes(axes, title, x, y)
    return figure, axes


def style_axes(axes: Axes, title: str, x: str, y: str) -> None:
    """Names a chart and its axes."""
    axes.set_title(title, loc="left", fontsize=11)
    axes.set(xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)


def save_figure(figure: Figure, path: str | Path) -> None:
    """Writes a figure as PNG."""
    content = io.BytesIO()
    with warnings.catch_warnings():
        # prepare says once that class names hold characters which no font has
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        # matplotlib would sign the file with its version
        figure.savefig(content, format="png", metadata={"Software": None})
    write_bytes(path, content.getvalue())
