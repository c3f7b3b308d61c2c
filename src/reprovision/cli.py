"""The command line: `reprovision COMMAND`."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import click

from reprovision.core.errors import UserError
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
            try:
                flags = find_recipe(name).flags()
            except UserError:
                # without any flag `dvc exp run $(...)` would train something else: it refuses this
                print(f"-S no.such.recipe={name}")
                raise
            print(" ".join(flags))
            return
        print(f"{'recipe':<15} {'accuracy':>9} {'training':>9}  for")
        for known, found in load_recipes().items():
            print(f"{known:<15} {found.accuracy:>7g} % {found.seconds:>7g} s  {found.about}")

    _exit(run)


class _Limit(click.ParamType[tuple[str, float]]):
    """METRIC=NUMBER, as a pair."""

    name = "METRIC=NUMBER"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, float]:
        # a class in recall.CLASS may have an = in its name
        matched = re.fullmatch(r"(.+)=(-?(?:\d+\.?\d*|\.\d+)(?:e-?\d+)?)", value)
        if not matched:
            self.fail(f"{value!r} is not like accuracy=0.98", param, ctx)
        return matched[1], float(matched[2])


@main.command()
@click.argument("base", default="main")
@click.argument("head", default="workspace")
@click.option("--md", is_flag=True, help="Print Markdown.")
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write a page with thumbnails and curves, too.",
)
@click.option(
    "--alpha",
    default=0.05,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Level of the tests.",
)
@click.option(
    "--fail-if", type=click.Choice(["worse"]), help="Fail if HEAD is significantly worse."
)
@click.option("--max-drop", type=_Limit(), multiple=True, help="Fail if METRIC is worse by more.")
@click.option("--min", "minima", type=_Limit(), multiple=True, help="Fail if METRIC is below.")
@click.option("--max", "maxima", type=_Limit(), multiple=True, help="Fail if METRIC is above.")
def diff(
    base: str,
    head: str,
    md: bool,
    html: Path | None,
    alpha: float,
    fail_if: str | None,
    max_drop: tuple[tuple[str, float], ...],
    minima: tuple[tuple[str, float], ...],
    maxima: tuple[tuple[str, float], ...],
) -> None:
    """Tell whether HEAD is better than BASE, or only differs by chance.

    Both are Git revisions, names of DVC experiments, or `workspace`. METRIC is one of the report's
    metrics, e.g. accuracy, macro_f1, loss, or recall.CLASS.

    Exit status: 0; 1 for an error; 2 for a wrong command line; 3 if a limit is broken, which the
    last line on stderr explains.
    """
    from reprovision.report.command import diff as show
    from reprovision.report.gate import FAILED, Gate, Limit

    limits = ([Limit(*pair) for pair in pairs] for pairs in (max_drop, minima, maxima))
    gate = Gate(fail_if == "worse", *limits)
    _exit(lambda: 0 if show((base, head), alpha, gate, md, html) else FAILED)


@main.command()
@click.option("--keep", is_flag=True, help="Leave the temporary folder for a closer look.")
def verify(keep: bool) -> None:
    """Run the current commit again, from nothing, and compare every output byte by byte.

    The commit is cloned into a temporary folder with caches of its own; downloads are shared, and
    MLflow's store stays as it is.

    Exit status: 0 if all outputs are identical; 1 for an error; 3 if one differs.
    """
    from reprovision.verifying.command import DIFFERENT
    from reprovision.verifying.command import verify as run_again

    _exit(lambda: 0 if run_again(keep) else DIFFERENT)


@main.command()
@click.option("--mlflow", is_flag=True, help="Rank MLflow's runs instead of DVC's experiments.")
@click.option("--metric", default="accuracy", show_default=True, help="Of results/test.json.")
def leaderboard(mlflow: bool, metric: str) -> None:
    """Rank params by their mean over seeds, and tell which differences are real.

    Takes every finished DVC experiment, the workspace and HEAD; with --mlflow, all runs of the
    experiment that track.experiment names, at MLFLOW_TRACKING_URI.
    """
    from reprovision.leaderboard.command import leaderboard as show

    _exit(lambda: show(mlflow, metric))


@main.command()
@click.argument("version", required=False)
@click.option("--force", is_flag=True, help="Promote it whatever the test says.")
@click.option("--reason", default="no reason given", help="Why, with --force; MLflow keeps it.")
def promote(version: str | None, force: bool, reason: str) -> None:
    """Make a model VERSION the champion in MLflow if it is better than the present one.

    Better means significantly more images of the same test set right (McNemar's exact test, level
    0.05). VERSION is by default that of the present results.

    Exit status: 0 if it is the champion now, 1 for an error, 3 if it is not shown to be better.
    """
    from reprovision.core.params import load_params
    from reprovision.tracking import registry

    def run() -> int:
        params = load_params()
        found = registry.promote(params, version, reason if force else None)
        print(found.in_words(params.track.model_name))
        return 0 if found.done else registry.NOT_BETTER

    _exit(run)


@main.command()
def rollback() -> None:
    """Give the champion's place back to its predecessor in MLflow."""
    from reprovision.core.params import load_params
    from reprovision.tracking import registry

    def run() -> None:
        params = load_params().track
        before, after = registry.rollback(params)
        print(f"models:/{params.model_name}@champion is version {after} again, not {before}")

    _exit(run)


@main.command()
def sync() -> None:
    """Write the record of the present results to MLflow, as far as it lacks anything."""
    from reprovision.tracking.syncing import sync as write

    _exit(write)


def _exit(action: Callable[[], int | None]) -> None:
    sys.exit(guard(action))
