"""The comparison as one self-contained HTML file: styles, pictures and curves are inside."""

import base64
import io
from importlib.resources import files
from pathlib import Path

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from reprovision.comparison import formatting
from reprovision.comparison.comparison import Comparison, Verdict
from reprovision.comparison.curves import draw_curves
from reprovision.comparison.gate import Outcome
from reprovision.data.dataset import load_info, load_origins, load_split
from reprovision.images.image_grid import thumbnail
from reprovision.results.cache import has_remote
from reprovision.results.layout import PREPARED

IMAGES = 48
"""Thumbnails of each kind."""


def render(comparison: Comparison, outcome: Outcome | None) -> str:
    """The whole report; `outcome` is the gate's, if there is one."""
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    environment.tests["verdict"] = lambda cell: isinstance(cell, Verdict)
    text = files("reprovision.comparison").joinpath("page.html.jinja").read_text(encoding="utf-8")
    images, origins = _test_images(comparison), comparison.head.predictions.origins
    curved = comparison.base.history or comparison.head.history
    curves = draw_curves(comparison.base, comparison.head) if curved else []
    return environment.from_string(text).render(
        comparison=comparison,
        outcome=outcome,
        formatting=formatting,
        pictured=bool(images),
        # asking DVC takes half a second
        has_remote=not images and has_remote(Path.cwd()),
        groups=[
            (title, [_data_uri(images[origins[i]]) if images else "" for i in indices], table)
            for title, indices, table in formatting.disagreements(comparison, IMAGES)
        ],
        # our own drawings, in which matplotlib has escaped all names
        curves=[Markup(curve) for curve in curves],
    )


def _test_images(comparison: Comparison) -> dict[str, np.ndarray]:
    """The head's test images by name, where the workspace holds them; else none."""
    if not (PREPARED / "dataset.json").exists():
        return {}
    digest = comparison.head.test_set.digest
    if load_info(PREPARED).splits["test"].digest != digest:
        return {}
    origins, images = load_origins(PREPARED, "test"), load_split(PREPARED, "test").images
    return dict(zip(origins, images, strict=True))


def _data_uri(image: np.ndarray) -> str:
    content = io.BytesIO()
    thumbnail(image).save(content, "PNG")
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()
