"""Commands on the images: what is wrong with them."""

from pathlib import Path

import click

# libraries are imported where a command is called: torch and mlflow take seconds


@click.command()
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


@click.command()
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
