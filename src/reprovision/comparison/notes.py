"""What a reader of a comparison should know beside the numbers."""

from collections.abc import Iterator
from pathlib import Path

from reprovision.comparison.pairing import Pairing
from reprovision.core.wording import count
from reprovision.results.cache import has_remote
from reprovision.results.layout import HISTORY
from reprovision.results.numerics import describe_difference
from reprovision.results.run import Run


def notes_on(base: Run, head: Run, pairing: Pairing) -> Iterator[str]:
    """What a reader should know of two runs, in sentences."""
    yield from dict.fromkeys([*base.warnings, *head.warnings])
    if pairing is not Pairing.SAME:
        yield _test_sets(base, head, pairing)
    if base.dataset.sha256["train"] != head.dataset.sha256["train"]:
        yield (
            f"The training images, or their pixels, differ: {base.dataset.images['train']:,} in "
            f"{base.name}, {head.dataset.images['train']:,} in {head.name}."
        )
    for run in (base, head):
        yield from notes_on_test_set(run)
    if different := _numerics_difference(base, head):
        yield (
            f"The two were computed with other native numerics: {different}. Only "
            "numerics=portable gives the same bytes on all x86-64 processors."
        )
    missing = [run.name for run in (base, head) if run.history is None]
    if missing:
        remedy = f"; `uv run dvc fetch --all-commits {HISTORY}` downloads it"
        yield (
            f"The training curves of {' and '.join(missing)} are not shown: {HISTORY} of that "
            f"revision is not in DVC's cache{remedy if has_remote(Path.cwd()) else ''}."
        )


def notes_on_test_set(run: Run) -> Iterator[str]:
    """What is wrong with a test set, whatever it is compared with."""
    if shared := run.dataset.in_train.get("test", 0):
        are = "is a training image" if shared == 1 else "are training images"
        yield (f"{count(shared, 'test image')} of {run.name} {are}, too: its metrics are too good.")


def _numerics_difference(base: Run, head: Run) -> str:
    """What decided bytes otherwise, where both chose native numerics."""
    before, after = base.numerics, head.numerics
    same_choice = base.params.get("numerics") == head.params.get("numerics")
    if before is None or after is None or not same_choice:
        return ""
    return describe_difference(before.training, after.training) or describe_difference(
        before.evaluation, after.evaluation
    )


def _test_sets(base: Run, head: Run, pairing: Pairing) -> str:
    sizes = " and ".join(
        f"{count(len(run.predictions), 'image')} of {run.test_set.name} in {run.name}"
        for run in (base, head)
    )
    if pairing is Pairing.OTHER_DATA:
        return f"The data differ ({sizes}): the metrics are shown side by side, but not compared."
    if pairing is Pairing.SHARED:
        shared = len(set(base.predictions.origins) & set(head.predictions.origins))
        if shared == len(base.predictions) == len(head.predictions):
            return (
                f"The {shared:,} test images have the same names, but other pixels: prepared in "
                "another way, or replaced. They are compared by their names."
            )
        return (
            f"The test sets differ ({sizes}): the two are compared on the "
            f"{count(shared, 'image')} that both have, by their names."
        )
    return (
        f"The test sets differ ({sizes}): the two are compared as independent samples, which "
        "detects only larger differences than a comparison image by image."
    )
