"""Which images of two test sets are the same, and in which order."""

from enum import StrEnum

import numpy as np

from reprovision.core.errors import UserError
from reprovision.results.layout import PREDICTIONS
from reprovision.results.run import Run


class Pairing(StrEnum):
    """How the two test sets relate."""

    SAME = "same images"
    SHARED = "shared images"
    DIFFERENT = "different images"
    OTHER_DATA = "other data"

    @property
    def is_paired(self) -> bool:
        """Whether the two are compared image by image."""
        return self in (Pairing.SAME, Pairing.SHARED)


def find_pairing(base: Run, head: Run) -> Pairing:
    """How the test sets of two runs relate.

    They share images where at least half of the smaller one is in the other, too.
    """
    if base.dataset.classes != head.dataset.classes:
        return Pairing.OTHER_DATA
    if base.test_set.digest == head.test_set.digest:
        return Pairing.SAME
    if base.test_set.name != head.test_set.name:
        return Pairing.OTHER_DATA
    smaller = min(len(base.predictions), len(head.predictions))
    is_shared = 2 * len(_shared_rows(base, head)) >= smaller
    return Pairing.SHARED if is_shared else Pairing.DIFFERENT


def restrict(base: Run, head: Run) -> tuple[Run, Run]:
    """Both with the predictions for the images that both have, in the order of the head's."""
    rows = _shared_rows(base, head)
    return base.reordered([row for row, _ in rows]), head.reordered([row for _, row in rows])


def _shared_rows(base: Run, head: Run) -> list[tuple[int, int]]:
    """Rows of the base and of the head with the same name and label; none for ambiguous names."""
    before, after = base.predictions, head.predictions
    row_of = {name: row for row, name in enumerate(before.origins)}
    if len(row_of) < len(before) or len(set(after.origins)) < len(after):
        return []
    pairs = ((row_of.get(name), row) for row, name in enumerate(after.origins))
    return [
        (first, second)
        for first, second in pairs
        if first is not None and before.actual[first] == after.actual[second]
    ]


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
