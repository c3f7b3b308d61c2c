"""Training computes the same losses as before."""

import json

import pytest
from golden import FILE, cases, losses, tolerance

GOLDEN: dict[str, list[float]] = json.loads(FILE.read_text("utf-8"))


def test_every_case_is_covered() -> None:
    assert sorted(GOLDEN) == sorted(cases())


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_a_recipe_has_the_same_first_losses(name: str) -> None:
    params = cases()[name]
    assert losses(params) == pytest.approx(GOLDEN[name], rel=tolerance(params)), (
        "training computes something else than before: if that is intended, "
        "run `uv run python tests/training/golden.py`"
    )
