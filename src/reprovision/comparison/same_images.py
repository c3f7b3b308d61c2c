"""Which runs were tested on the same images, whatever size or colors these were given.

A digest of the pixels tells test sets apart. But runs that differ in `data.image_size`, e.g., see
the same photos, and which size is best is a question for one ranking.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from reprovision.core.errors import UserError
from reprovision.results.run import Run, TestSet

PREPARATION = (
    "data.image_size",
    "data.resize",
    "data.interpolation",
    "data.background",
    "data.bits",
    "data.channels",
)
"""Params that change the pixels of test images, but not which images there are."""


def by_test_images(runs: Iterable[Run]) -> list[list[Run]]:
    """Runs that were tested on the same images, together.

    Those of equal digests were. Those of other digests were where the params that prepare images
    differ, but not the names and labels of the test images; one run of each digest is asked for
    them.
    """
    by_digest: dict[TestSet, list[Run]] = {}
    for run in runs:
        by_digest.setdefault(run.test_set, []).append(run)
    by_size: dict[Any, list[list[Run]]] = {}
    for test_set, found in by_digest.items():
        by_size.setdefault((test_set.name, test_set.images), []).append(found)
    together = []
    for sets in by_size.values():
        together += _merge(sets) if len(sets) > 1 else sets
    return together


def _merge(sets: Sequence[list[Run]]) -> list[list[Run]]:
    """Merges runs of several digests by the names and labels of their images."""
    by_names: dict[Any, list[list[Run]]] = {}
    for number, found in enumerate(sets):
        # those without names stay on their own
        by_names.setdefault(_names(found[0]) or number, []).append(found)
    merged = []
    for same in by_names.values():
        ways = [{_preparation(run) for run in found} for found in same]
        # where no param explains other pixels, the files were replaced
        explained = len(set().union(*ways)) == sum(map(len, ways))
        merged += [[run for found in same for run in found]] if explained else same
    return merged


def _preparation(run: Run) -> str:
    return str([run.params.get(key) for key in PREPARATION])


def _names(run: Run) -> tuple[object, ...] | None:
    """Names and classes of the test images; None where they are not known or not unique."""
    try:
        predictions = run.predictions
    except UserError:
        return None
    if len(set(predictions.origins)) < len(predictions):
        return None
    classes = (predictions.classes[label] for label in predictions.actual)
    return (predictions.classes, *sorted(zip(predictions.origins, classes, strict=True)))
