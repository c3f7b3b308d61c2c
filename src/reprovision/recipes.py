"""Ready-made params by name, with the accuracy and time to expect; recipes.yaml holds them."""

import json
import os
import sys
from collections.abc import Sequence
from importlib.resources import files
from typing import Annotated, Any, NoReturn

from pydantic import Field

from reprovision.core.errors import UserError
from reprovision.core.yaml_files import Section, parse_yaml


class Recipe(Section):
    """Params for a purpose.

    Attributes:
        about: the purpose.
        accuracy: expected on the test images, in percent.
        seconds: expected for the training loop, on two cores with AVX512-BF16.
        params: dotted keys and values; numerics and all of data, model and train, so that the
            result does not depend on params.yaml.
    """

    about: str
    accuracy: Annotated[float, Field(gt=0, le=100)]
    seconds: Annotated[float, Field(gt=0)]
    params: dict[str, Any]

    def flags(self) -> list[str]:
        """The params as arguments of `dvc exp run`."""
        texts = (f"{key}={_text(value)}" for key, value in self.params.items())
        return [part for text in texts for part in ("-S", text)]


def load_recipes() -> dict[str, Recipe]:
    """All recipes by name, in the order of the file."""
    content = files("reprovision").joinpath("recipes.yaml").read_bytes()
    recipes = parse_yaml(content, "recipes.yaml")["recipes"]
    return {name: Recipe(**tree) for name, tree in recipes.items()}


def find_recipe(name: str) -> Recipe:
    """One recipe; raises a UserError that lists the known names if there is none."""
    recipes = load_recipes()
    if name not in recipes:
        raise UserError(f"there is no recipe {name}: choose one of {', '.join(recipes)}")
    return recipes[name]


def run_recipe(recipe: Recipe, overrides: Sequence[str]) -> NoReturn:
    """Runs `dvc exp run` with a recipe's params, in place of this process.

    DVC gets signals and passes its exit status on itself: as a child it would be killed soon after
    Ctrl-C, which leaves a detached HEAD.

    Args:
        overrides: `KEY=VALUE`, each replaces the recipe's value.
    """
    flags = [*recipe.flags(), *(f"-S{text}" for text in overrides)]
    os.execv(sys.executable, [sys.executable, "-m", "dvc", "exp", "run", *flags])


def _text(value: Any) -> str:
    """A value as DVC's command line reads it, without spaces at which a shell would split."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
