"""Which images of two test sets are the same, and in which order."""

from enum import StrEnum

import numpy as np

from reprovision.core.errors import UserError
from reprovision.results.layout import PREDICTIONS
from reprovision.results.run import Run


class Pairing(StrEnum):
    """How the two test sets relate."""

    SAME = "same images"
    DIFFERENT = "different images"
    OTHER_DATA = "other data"


def find_pairing(base: Run, head: Run) -> Pairing:
    """How the test sets of two runs relate."""
    if base.dataset.classes != head.dataset.classes:
        return Pairing.OTHER_DATA
    if base.test_set.digest != head.test_set.digest:
        same_source = base.test_set.name == head.test_set.name
        return Pairing.DIFFERENT if same_source else Pairing.OTHER_DATA
    return Pairing.SAME


def pair(base: Run, head: Run) -> Run:
    """The base with its predictions in the order of the head's, by the images' names.

    Raises:
        UserError: the two list other images, or other labels for them.
    """
    names, wanted = base.predictions.origins, head.predictions.origins
    if names != wanted:
        row_of = {name: row for row, name in enumerate(names)}
        if len(row_of) != len(names) or sorted(names) != sorted(wanted):
            raise _other_predictions(base, head, "images")
        base = base.reordered([row_of[name] for name in wanted])
    if not np.array_equal(base.predictions.actual, head.predictions.actual):
        raise _other_predictions(base, head, "labels")
    return base


def _other_predictions(base: Run, head: Run, what: str) -> UserError:
    return UserError(
        f"{base.title} and {head.title} name the same test set, but their {PREDICTIONS} list "
        f"other {what}: run `dvc repro` for both"
    )
