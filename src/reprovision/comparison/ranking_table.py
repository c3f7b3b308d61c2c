"""`reprovision leaderboard`: the ranking of finished runs as tables for a terminal."""

import sys
from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from reprovision.comparison import formatting
from reprovision.comparison.ranking import Board, Place, Standing, rank, runs_with
from reprovision.core.yaml_files import as_text
from reprovision.results.metrics import METRICS, Metric
from reprovision.results.run import Run

COLOURS = {Standing.BEST: "green", Standing.WORSE: "red", Standing.UNCLEAR: "yellow"}

PIPED_WIDTH = 250
"""Columns where the output is a file or a pipe, which can take long lines."""


def print_leaderboard(runs: Sequence[Run], metric_name: str, confidence: float = 0.95) -> None:
    """Prints the ranking of runs on each test set, and below the last how to read them.

    Args:
        runs: the newest first.
        metric_name: what to rank by.
        confidence: of the intervals.

    Raises:
        UserError: there are no runs, or none has the metric.
    """
    found = runs_with(metric_name, runs)
    metric, boards = METRICS[metric_name], rank(found, metric_name, confidence)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)
    for board in boards:
        test_set = board.test_set
        console.print(
            f"[bold]{escape(test_set.name)}[/], {test_set.images:,} test images "
            f"({test_set.digest[:8]}), {formatting.count(len(board.runs), 'run')}"
        )
        console.print(_table(board, metric, confidence))
        if board.repeats:
            console.print(
                f"[dim]{formatting.count(board.repeats, 'older run')} of the same params, code and "
                "seed, but with other metrics, left out.[/]"
            )
    if lacking := len(runs) - len(found):
        without = formatting.count(lacking, "run")
        console.print(f"[dim]{without} without {metric.title} left out.[/]")
    for line in _legend(boards, metric, confidence):
        console.print(f"[dim]{escape(line)}[/]")


def _table(board: Board, metric: Metric, confidence: float) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("#", justify="right")
    for heading in (*board.varying, "n"):
        table.add_column(escape(heading), justify="right", overflow="fold")
    for heading in (metric.title, "sd", f"{confidence:.0%} interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    if metric.name != "loss":
        table.add_column("loss", justify="right", no_wrap=True)
    table.add_column("against the best", no_wrap=True)
    table.add_column("best run")
    for number, place in enumerate(board.places, 1):
        table.add_row(str(number), *_cells(place, board, metric))
    return table


def _cells(place: Place, board: Board, metric: Metric) -> list[str]:
    group, summary = place.group, place.group.summary
    # a run of another version may lack a param
    params = (group.params[key] for key in board.varying)
    cells = [escape("–" if value is None else as_text(value)) for value in params]
    cells += [str(len(group.runs)), formatting.value(metric, summary.mean)]
    if summary.sd is None or summary.margin is None:
        cells += ["", ""]
    else:
        margin = formatting.spread(metric, summary.margin)
        cells += [formatting.spread(metric, summary.sd), f"± {margin}"]
    if metric.name != "loss":
        cells.append(formatting.value(METRICS["loss"], group.loss.mean))
    colour = COLOURS.get(place.standing, "dim")
    p = f" ({formatting.named_p(place.p)})" if place.p is not None else ""
    return [*cells, f"[{colour}]{place.standing.value}{p}[/]", escape(group.runs[0].name)]


def _legend(boards: Sequence[Board], metric: Metric, confidence: float) -> Iterator[str]:
    best = "lowest" if metric.lower_is_better else "highest"
    yield (
        f"Means over seeds, the {best} first; n is the number of seeds. sd and interval (Student's "
        "t) are the spread over seeds on this one test set."
    )
    yield (
        "Against the best group of several seeds: Welch's t test, p adjusted after Benjamini and "
        f"Hochberg, level {1 - confidence:.2g}."
    )
    if len(boards) > 1:
        yield "Runs with other test images are not compared: each test set has its own table."
    if any(place.standing is Standing.TOO_FEW for board in boards for place in board.places):
        yield (
            "More seeds: uv run dvc exp run --queue -S seed=0,1,2,3,4 -S ..., then "
            "uv run dvc queue start. Two single runs: uv run reprovision diff A B."
        )
