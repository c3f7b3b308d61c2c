"""The command line: `reprovision COMMAND`."""

import os
import re
from pathlib import Path

import click

from reprovision.core.stage import handle_errors

# commands import what they need when they are called: torch and mlflow take seconds


class _Group(click.Group):
    """Commands that return their exit status; a user's mistake is one sentence on stderr."""

    def invoke(self, ctx: click.Context) -> None:
        invoke = super().invoke
        ctx.exit(handle_errors(lambda: invoke(ctx)))


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="reprovision")
def main() -> None:
    """Tools around the pipeline: data, recipes, comparisons, reproduction, the model registry."""
    # a notebook's may not be installed here
    os.environ["MPLBACKEND"] = "agg"


@main.command()
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


@main.command()
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


@main.command()
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


@main.command()
@click.argument("source")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("report/check"),
    show_default=True,
    help="Where findings.csv and dataset.png are written.",
)
def check(source: str, out: Path) -> int:
    """Look for what is wrong with a SOURCE of images: copies, labels, damaged files.

    SOURCE is what data.source may be: a folder of images or a descriptor. Nothing in it is changed.
    Found are files that can't be read; identical and nearly identical images in two splits
    (leakage), with two labels (conflict), or in one class (copy); images of one color, which may be
    placeholders; tiny and huge files; small classes. Groups in two splits are leakage, too: those
    of the table's column `group`, or of data.group where params.yaml has the same source. Images
    smaller than 32 pixels are compared for identity only; mirrored, rotated or cropped copies are
    not found.

    Exit status: 0; 1 for an error; 3 for unreadable files, leakage or conflicts.
    """
    from reprovision.checks.command import SERIOUS
    from reprovision.checks.command import check as show

    return 0 if show(source, out) else SERIOUS


@main.command()
@click.option("--top", default=20, show_default=True, type=click.IntRange(1), help="Images shown.")
@click.option(
    "--csv",
    "table",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also write all suspects to a table.",
)
@click.option(
    "--picture",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also draw those shown, as PNG.",
)
def suspects(top: int, table: Path | None, picture: Path | None) -> None:
    """List images whose labels the current model contradicts, the most confident first.

    A label may be wrong, or the image hard. All of train, val and test are looked at; but a model
    that has memorized its training images contradicts few of their labels: to find wrong ones,
    train again with other values of data.split_seed, which hold out other images for val.
    """
    from reprovision.checks.suspects import show_suspects
    from reprovision.results.layout import ONNX_MODEL, PREPARED

    show_suspects(ONNX_MODEL, PREPARED, top, table, picture)


@main.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(allow_dash=True))
@click.option(
    "--model",
    metavar="FILE|FOLDER|URI",
    help="An exported model, or e.g. models:/NAME@champion in MLflow; by default the current one.",
)
@click.option("--top", default=3, show_default=True, type=click.IntRange(1), help="Classes shown.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per image.")
@click.option("--csv", "as_csv", is_flag=True, help="Print a table for spreadsheets and pandas.")
def predict(
    images: tuple[str, ...], model: str | None, top: int, as_json: bool, as_csv: bool
) -> int:
    """Classify image files, or all images in folders, with the exported model.

    Each image is preprocessed as for training; - is an image from standard input.

    Exit status: 0; 1 if an image can't be read; 2 for a wrong command line.
    """
    from reprovision.results.layout import ONNX_MODEL
    from reprovision.serving.command import predict_files
    from reprovision.serving.output import Format
    from reprovision.serving.predictor import Predictor

    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other")
    path = _local_model(model or str(ONNX_MODEL))
    output: Format = "json" if as_json else "csv" if as_csv else "text"
    all_read = predict_files(Predictor(path, threads=1), images, top, output)
    return 0 if all_read else 1


@main.command()
@click.option(
    "--model",
    metavar="FILE|FOLDER|URI",
    help="An exported model, or e.g. models:/NAME@champion in MLflow; by default the current one.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0 for all networks.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535))
@click.option("--follow", is_flag=True, help="Change to a newer model or champion when it appears.")
@click.option(
    "--follow-seconds",
    default=10.0,
    show_default=True,
    type=click.FloatRange(0.1),
    help="With --follow, between looking.",
)
@click.option(
    "--max-body",
    default=20.0,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    help="MiB of a request.",
)
@click.option(
    "--max-pixels",
    default=64_000_000,
    show_default=True,
    type=click.IntRange(1),
    help="Of an image.",
)
@click.option(
    "--queue", default=128, show_default=True, type=click.IntRange(1), help="Images under way."
)
@click.option(
    "--timeout",
    default=30.0,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    help="Seconds for a request.",
)
def serve(
    model: str | None,
    host: str,
    port: int,
    follow: bool,
    follow_seconds: float,
    max_body: float,
    max_pixels: int,
    queue: int,
    timeout: float,
) -> None:
    """Answer HTTP requests with the exported model, and show a page to try it.

    POST image files to /predict; /docs describes it. Requests beyond a limit get 413 (body or
    pixels), 429 (queue) or 503 (time).
    """
    from reprovision.results.layout import ONNX_MODEL
    from reprovision.service.models import FileModels, Models
    from reprovision.service.server import serve as answer
    from reprovision.service.service import Limits, Service

    models: Models
    if model and model.startswith("models:/"):
        from reprovision.core.params import load_params
        from reprovision.tracking.registered import RegisteredModels

        models = RegisteredModels(load_params(), model)
    else:
        models = FileModels(Path(model or ONNX_MODEL))
    limits = Limits(round(max_body * 2**20), max_pixels, queue, timeout)
    answer(Service(models, limits, follow_seconds if follow else None), host, port)


@main.command()
@click.argument("model", required=False)
@click.option("--source", required=True, help="A descriptor or a folder, as data.source.")
@click.option(
    "--set-apart", is_flag=True, help="Take only the images that prepare sets apart for testing."
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Also write test.json, predictions.csv and classes.csv.",
)
def evaluate(model: str | None, source: str, set_apart: bool, out: Path | None) -> None:
    """Test a MODEL on images of another source.

    MODEL is a checkpoint (.safetensors), an exported model, or e.g. models:/NAME@champion in
    MLflow; by default the current exported one. It sees the images as it did in training.

    Taken are the source's own test images, or, where it has none, all of its images: of the source
    that the model was trained on, use --set-apart. A warning counts images that are among the
    training images in data/prepared. The classes may be some of those that the model knows.
    """
    from reprovision.core.params import load_params
    from reprovision.evaluation.command import evaluate as show
    from reprovision.results.layout import ONNX_MODEL

    show(load_params(), _local_model(model or str(ONNX_MODEL)), source, set_apart, out)


def _local_model(model: str) -> Path:
    """The file of a model; one in MLflow is downloaded."""
    if not model.startswith("models:/"):
        return Path(model)
    from reprovision.core.params import load_params
    from reprovision.tracking.models import download_model

    return download_model(load_params(), model)


@main.command()
@click.option("--mlflow", is_flag=True, help="Rank MLflow's runs instead of DVC's experiments.")
@click.option("--metric", default="accuracy", show_default=True, help="Of results/test.json.")
def leaderboard(mlflow: bool, metric: str) -> None:
    """Rank params by their mean over seeds, and test which differences are more than chance.

    Takes every finished DVC experiment, the workspace and HEAD; with --mlflow, all runs of the
    experiment that track.experiment names, at MLFLOW_TRACKING_URI.
    """
    from reprovision.comparison.ranking_table import print_leaderboard
    from reprovision.core.params import load_params
    from reprovision.results.run import finished_runs

    if mlflow:
        from reprovision.tracking.runs import finished_runs as mlflow_runs

        print_leaderboard(mlflow_runs(load_params().track.experiment), metric)
    else:
        print_leaderboard(finished_runs(), metric)


@main.command()
@click.argument("version", required=False)
@click.option("--force", is_flag=True, help="Promote it whatever the test says.")
@click.option("--reason", help="Why, with --force; MLflow keeps it.")
def promote(version: str | None, force: bool, reason: str | None) -> int:
    """Make a model VERSION the champion in MLflow if it is better than the current one.

    Better means significantly more images of the same test set classified correctly (McNemar's
    exact test, level 0.05). VERSION is by default that of the current results.

    Exit status: 0 if it is the champion now, 1 for an error, 3 if there is no evidence that it is
    better.
    """
    from reprovision.core.params import load_params
    from reprovision.tracking import champion

    if reason and not force:
        raise click.UsageError("--reason needs --force")
    forced = reason or "no reason given" if force else None
    outcome = champion.promote(load_params(), version, forced)
    print(outcome.message)
    return 0 if outcome.is_champion else champion.NOT_BETTER


@main.command()
@click.argument("version", required=False)
def rollback(version: str | None) -> None:
    """Make the previous champion the champion again in MLflow.

    VERSION is the one to replace, by default the current champion; where another one is the
    champion, nothing changes.
    """
    from reprovision.core.params import load_params
    from reprovision.tracking import champion

    print(champion.rollback(load_params(), version))


@main.command()
def sync() -> None:
    """Log what is missing of the current results to MLflow."""
    from reprovision.tracking.sync import sync as write

    write()
