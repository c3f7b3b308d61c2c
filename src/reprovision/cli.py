"""The command line: `reprovision COMMAND`."""

import sys
from collections.abc import Callable

import click

from reprovision.core.stage import guard

# commands import what they need when they are called: torch and mlflow take seconds


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="reprovision")
def main() -> None:
    """What goes with the pipeline: recipes, comparisons, proofs."""


@main.command()
@click.argument("name", required=False)
@click.option("--list", "list_all", is_flag=True, help="Show all recipes and what they promise.")
def recipe(name: str | None, list_all: bool) -> None:
    """Print the flags that set a recipe's params.

    Train one with: uv run dvc exp run $(uv run reprovision recipe NAME)
    """
    from reprovision.recipes import find_recipe, load_recipes

    def run() -> None:
        if name and not list_all:
            print(" ".join(find_recipe(name).flags()))
            return
        print(f"{'recipe':<15} {'accuracy':>9} {'training':>9}  for")
        for known, found in load_recipes().items():
            print(f"{known:<15} {found.accuracy:>7.1f} % {found.seconds:>7.0f} s  {found.about}")

    _exit(run)


def _exit(action: Callable[[], None]) -> None:
    sys.exit(guard(action))
