"""The comparison as one self-contained HTML file: styles, pictures and curves are inside."""

import base64
import io
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from reprovision.comparison import formatting
from reprovision.comparison.comparison import Comparison
from reprovision.comparison.curves import draw_curves
from reprovision.comparison.gate import Outcome
from reprovision.data.dataset import load_info, load_split
from reprovision.images.image_grid import thumbnail
from reprovision.results.layout import PREPARED

IMAGES = 48
"""Thumbnails of each kind."""


@dataclass(frozen=True)
class Card:
    """A test image in the page; `picture` is a data URI, or None where the pixels are missing."""

    picture: str | None
    origin: str
    actual: str
    base: str
    head: str


def render(comparison: Comparison, outcome: Outcome | None) -> str:
    """The whole report; `outcome` is the gate's, if there is one."""
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    text = files("reprovision.comparison").joinpath("page.html.jinja").read_text(encoding="utf-8")
    images = _test_images(comparison)
    curved = comparison.base.history or comparison.head.history
    curves = draw_curves(comparison.base, comparison.head) if curved else ""
    return environment.from_string(text).render(
        comparison=comparison,
        outcome=outcome,
        formatting=formatting,
        pictured=images is not None,
        groups=[
            (title, len(rows), [_card(comparison, images, row) for row in rows[:IMAGES]])
            for title, rows in formatting.disagreements(comparison)
        ],
        # our own drawing, in which matplotlib has escaped all names
        curves=Markup(curves),
    )


def _test_images(comparison: Comparison) -> np.ndarray | None:
    """The test images, where the workspace holds those that were compared."""
    if not (PREPARED / "dataset.json").exists():
        return None
    digest = comparison.head.test_set.digest
    if load_info(PREPARED).splits["test"].digest != digest:
        return None
    return load_split(PREPARED, "test").images


def _card(comparison: Comparison, images: np.ndarray | None, row: int) -> Card:
    picture = None if images is None else _data_uri(images[row])
    return Card(picture, *formatting.image(comparison, row))


def _data_uri(image: np.ndarray) -> str:
    content = io.BytesIO()
    thumbnail(image).save(content, "PNG")
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()
