"""Ready-made params by name, with what they promise; they stand in recipes.yaml."""

import json
from importlib.resources import files
from typing import Annotated, Any

import yaml
from pydantic import Field

from reprovision.core.errors import UserError
from reprovision.core.params import Section


class Recipe(Section):
    """Params for a purpose.

    Attributes:
        about: what it is for.
        accuracy: of the test images to expect, in percent.
        seconds: of the training loop to expect, on two cores with AVX512-BF16.
        params: dotted keys with their values; all of data, model and train, so that the result
            does not depend on what params.yaml says there.
    """

    about: str
    accuracy: Annotated[float, Field(gt=0, le=100)]
    seconds: Annotated[float, Field(gt=0)]
    params: dict[str, Any]

    def flags(self) -> list[str]:
        """The params as arguments of `dvc exp run`."""
        return [
            part for key, value in self.params.items() for part in ("-S", f"{key}={_text(value)}")
        ]


def load_recipes() -> dict[str, Recipe]:
    """All recipes by name, in the order of the file."""
    text = files("reprovision").joinpath("recipes.yaml").read_text(encoding="utf-8")
    return {name: Recipe(**tree) for name, tree in yaml.safe_load(text)["recipes"].items()}


def find_recipe(name: str) -> Recipe:
    """One recipe; raises a UserError that lists the names where there is none."""
    recipes = load_recipes()
    if name not in recipes:
        raise UserError(f"there is no recipe {name}: choose one of {', '.join(recipes)}")
    return recipes[name]


def _text(value: Any) -> str:
    """A value as DVC's command line takes it, without blanks that a shell would split at."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
