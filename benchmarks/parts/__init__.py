"""The parts, each with two functions and a line of what it compares.

    take(toy)           measures, in processes of their own, and returns the samples
    rows(samples)        turns them into the rows of its table, with the targets

No part imports torch: what it starts would inherit its memory, and its idle threads disturb.
"""

import importlib
from typing import Protocol

from benchmarks.samples import Row, Sample

NAMES = (
    "fast",
    "recipes",
    "numerics",
    "overhead",
    "inference",
    "latency",
    "predict",
    "serve",
    "photos",
    "prepare",
    "reading",
    "pipeline",
    "memory",
    "scale",
    "distributed",
    "accurate",
)
"""In the order of the page; `accurate` takes as long as all others together."""


class Part(Protocol):
    """A module of this package."""

    TITLE: str

    def take(self, toy: bool) -> list[Sample]:
        """Measures."""

    def rows(self, samples: list[Sample]) -> list[Row]:
        """What it amounts to."""


def find(name: str) -> Part:
    """The part of a name."""
    part: Part = importlib.import_module(f"benchmarks.parts.{name}")
    return part
