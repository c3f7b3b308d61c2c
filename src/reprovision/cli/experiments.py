"""Commands on experiments: train a recipe, compare, run again."""

import re
from pathlib import Path

import click

# libraries are imported where a command is called: torch and mlflow take seconds


@click.command()
@click.argument("name", required=False)
@click.option("--list", "list_all", is_flag=True, help="Show all recipes and what to expect.")
@click.option("--run", "run_it", is_flag=True, help="Train it: call `dvc exp run` with the flags.")
@click.option(
    "-S", "overrides", multiple=True, metavar="KEY=VALUE", help="With --run, change a param."
)
def recipe(name: str | None, list_all: bool, run_it: bool, overrides: tuple[str, ...]) -> None:
    """Train a recipe, or print the flags of `dvc exp run` that set its params.

    Train one with: uv run reprovision recipe NAME --run
    """
    from reprovision.recipes import find_recipe, load_recipes, run_recipe

    if (run_it and not name) or (overrides and not run_it):
        raise click.UsageError("--run needs a NAME, and -S needs --run")
    if list_all or not name:
        print(f"{'recipe':<15} {'accuracy':>9} {'training':>9}  for")
        for known, found in load_recipes().items():
            print(f"{known:<15} {found.accuracy:>7g} % {found.seconds:>7g} s  {found.about}")
    elif run_it:
        run_recipe(find_recipe(name), overrides)
    else:
        print(" ".join(find_recipe(name).flags()))


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


@click.command()
@click.argument("base", default="main")
@click.argument("head", default="workspace")
@click.option("--md", is_flag=True, help="Print Markdown.")
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also write a page with thumbnails and curves.",
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
) -> int:
    """Test whether HEAD is better than BASE, or only differs by chance.

    Both are Git revisions, names of DVC experiments, or `workspace`. METRIC is one of accuracy,
    top_k_accuracy, loss, macro_precision, balanced_accuracy, macro_f1, macro_roc_auc,
    calibration_error, or recall.CLASS.

    Exit status: 0; 1 for an error; 2 for a wrong command line; 3 if a limit is broken, as the last
    line on stderr explains.
    """
    from reprovision.comparison.command import diff as show
    from reprovision.comparison.gate import FAILED, Gate, Limit

    limits = ([Limit(*pair) for pair in pairs] for pairs in (max_drop, minima, maxima))
    gate = Gate(fail_if == "worse", *limits)
    return 0 if show(base, head, alpha, gate, md, html) else FAILED


@click.command()
@click.option("--mlflow", is_flag=True, help="Rank MLflow's runs instead of DVC's experiments.")
@click.option("--metric", default="accuracy", show_default=True, help="Of results/test.json.")
@click.option(
    "--top",
    default=50,
    show_default=True,
    type=click.IntRange(min=1),
    help="Places to show of each table.",
)
def leaderboard(mlflow: bool, metric: str, top: int) -> None:
    """Rank params by their mean over seeds, and test which differences are more than chance.

    Takes every finished DVC experiment, the workspace and HEAD; with --mlflow, all runs of the
    experiment that track.experiment names, at MLFLOW_TRACKING_URI.
    """
    from reprovision.comparison.ranking_table import print_leaderboard
    from reprovision.core.params import load_params
    from reprovision.results.finished import finished_runs

    if mlflow:
        from reprovision.tracking.runs import finished_runs as mlflow_runs

        print_leaderboard(mlflow_runs(load_params().track.experiment), metric, top)
    else:
        print_leaderboard(finished_runs(), metric, top)


@click.command()
@click.option("--keep", is_flag=True, help="Leave the temporary folder for a closer look.")
def verify(keep: bool) -> int:
    """Run the current commit again, from scratch, and compare every output byte by byte.

    The commit is cloned into a temporary folder with caches of its own; downloads are shared, and
    MLflow's store stays as it is.

    Exit status: 0 if all outputs are identical; 1 for an error; 3 if one differs.
    """
    from reprovision.verify.command import DIFFERENT
    from reprovision.verify.command import verify as run_again

    return 0 if run_again(keep) else DIFFERENT
