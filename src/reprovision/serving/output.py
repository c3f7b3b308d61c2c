"""The most probable classes of images as text, JSON or CSV: a function of one image for each."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from rich.cells import cell_len, set_cell_size

from reprovision.core.errors import printable

Best = Sequence[tuple[str, float]]
"""Names of classes with their probabilities, the most probable first."""

Format = Literal["text", "json", "csv"]

Show = Callable[[str, Best], str]
"""From an image's name and its best classes to what is printed."""

PERCENT = len("100.00%")

PIPED_WIDTH = 120
"""Columns where the output is a file or a pipe."""


def most_probable(classes: Sequence[str], probabilities: np.ndarray, top: int) -> Best:
    """The best classes of probabilities, float32 (classes,), with the digits of predictions.csv."""
    order = np.argsort(-probabilities, kind="stable")[:top]
    return [(classes[i], float(f"{probabilities[i]:.6g}")) for i in order]


def text_for(images: Sequence[str], classes: Sequence[str], top: int, width: int | None) -> Show:
    """A line per image, in columns; classes below each other for one image or lack of space.

    Args:
        images: the names of all, which decide how wide the columns are. A few that are too long
            only lengthen their own lines.
        top: classes shown per image.
        width: of the terminal, in characters; None for any.
    """
    of_class = max(cell_len(printable(name)) for name in classes)
    room = (width or PIPED_WIDTH) - min(top, len(classes)) * (of_class + PERCENT + 4)
    fitting = [n for n in (cell_len(printable(name)) for name in images) if n <= room]
    most_fit = width is None or 2 * len(fitting) > len(images)

    def show(image: str, best: Best) -> str:
        image = printable(image)
        cells = [
            f"{set_cell_size(printable(name), of_class)}  {f'{probability:.2%}':>{PERCENT}}"
            for name, probability in best
        ]
        if len(images) == 1 or not most_fit:
            return "\n  ".join([image, *cells])
        padding = " " * (max(fitting, default=0) - cell_len(image))
        return "  ".join([image + padding, *cells])

    return show


def as_object(image: str, best: Best) -> dict[str, Any]:
    """Name and classes for JSON: a list, because the keys of an object have no order there."""
    classes = [{"class": name, "probability": probability} for name, probability in best]
    return {"image": image, "classes": classes}


def json_line(image: str, best: Best) -> str:
    """An object with the image's name and its classes in order."""
    return json.dumps(as_object(image, best), ensure_ascii=False)


def csv_header(top: int) -> str:
    """The columns of `csv_line`: those of predictions.csv, and the same for each further rank."""
    further = (f"predicted_{rank},confidence_{rank}" for rank in range(2, top + 1))
    return ",".join(["image,predicted,confidence", *further])


def csv_line(image: str, best: Best) -> str:
    """A row; control characters in names are replaced, so that it is one line."""
    line = io.StringIO()
    cells = (cell for name, probability in best for cell in (printable(name), probability))
    csv.writer(line, lineterminator="").writerow([printable(image), *cells])
    return line.getvalue()
