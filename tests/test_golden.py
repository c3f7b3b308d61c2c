"""Training computes what it computed before."""

import json

import pytest
from golden import FILE, TOLERANCE, losses

from reprovision.recipes import load_recipes

GOLDEN: dict[str, list[float]] = json.loads(FILE.read_text("utf-8"))


def test_every_recipe_is_covered() -> None:
    assert sorted(GOLDEN) == sorted(load_recipes())


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_a_recipe_has_the_same_first_losses(name: str) -> None:
    params = load_recipes()[name].params
    assert losses(params) == pytest.approx(GOLDEN[name], rel=TOLERANCE), (
        "training computes something else than before: if it is meant to, "
        "run `uv run python tests/golden.py`"
    )
