"""Recipes as params."""

from typing import Any

from benchmarks.data import change
from benchmarks.process import ROOT
from reprovision.core.params import Params
from reprovision.core.yaml_files import load_yaml, parse_section
from reprovision.recipes import find_recipe

DEFAULT = "default"
"""Not a recipe: params.yaml as it stands."""


def params_of(recipe: str, **changes: Any) -> Params:
    """A recipe over params.yaml, on the processor; `changes` have `__` for each dot."""
    tree = load_yaml(ROOT / "params.yaml")
    if recipe != DEFAULT:
        change(tree, find_recipe(recipe).params)
    change(tree, {"train.device": "cpu"})
    change(tree, {key.replace("__", "."): value for key, value in changes.items()})
    return parse_section(Params, tree, f"recipe {recipe}")
