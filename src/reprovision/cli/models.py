"""Commands that use a model: predict, serve, evaluate."""

import math
from pathlib import Path

import click

# libraries are imported where a command is called: torch and mlflow take seconds


_model_option = click.option(
    "--model",
    metavar="FILE|FOLDER|URI",
    help="An exported model, or e.g. models:/NAME@champion in MLflow; by default the current one.",
)


def _require_finite(ctx: click.Context, param: click.Parameter, value: float) -> float:
    """Refuses infinity, and nan, which click finds in any range."""
    if not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a finite number")
    return value


@click.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(allow_dash=True))
@_model_option
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


@click.command()
@_model_option
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0 for all networks.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535))
@click.option("--follow", is_flag=True, help="Change to a newer model or champion when it appears.")
@click.option(
    "--follow-seconds",
    default=10.0,
    show_default=True,
    type=click.FloatRange(0.1),
    callback=_require_finite,
    help="With --follow, between looking.",
)
@click.option(
    "--max-body",
    default=20.0,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    callback=_require_finite,
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
    callback=_require_finite,
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


@click.command()
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
