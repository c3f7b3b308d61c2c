"""`reprovision leaderboard`: the ranking of finished runs as tables for a terminal."""

import sys
from collections.abc import Iterator, Sequence
from typing import Literal

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from reprovision.comparison import formatting
from reprovision.comparison.ranking import Board, Place, Standing, rank, runs_with
from reprovision.core.yaml_files import as_text
from reprovision.results.metrics import METRICS, Metric
from reprovision.results.run import Run

COLOURS = {Standing.BEST: "green", Standing.WORSE: "red", Standing.UNCLEAR: "yellow"}

OPTIONAL = ("loss", "interval", "sd")
"""Columns that a narrow terminal goes without, in this order."""

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
        console.print(_table(board, metric, confidence, console))
        if winner := _winner(board):
            console.print(f"[bold]{escape(winner)}[/]")
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


def _table(board: Board, metric: Metric, confidence: float, console: Console) -> Table:
    """The widest table that fits: names and params are never squeezed for what may be left out."""
    for left_out in range(len(OPTIONAL) + 1):
        table = _draw(board, metric, confidence, OPTIONAL[:left_out])
        if Measurement.get(console, console.options, table).maximum <= console.width:
            break
    return table


def _draw(board: Board, metric: Metric, confidence: float, left_out: Sequence[str]) -> Table:
    rows = [_cells(place, board, metric) for place in board.places]
    titles = {"accuracy": metric.title, "interval": f"{confidence:.0%} interval"}
    names = [name for name in rows[0] if name not in left_out]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("#", justify="right")
    for name in names:
        is_text = name in ("against the best", "best run")
        justify: Literal["left", "right"] = "left" if is_text else "right"
        table.add_column(escape(titles.get(name, name)), justify=justify, overflow="fold")
    for number, row in enumerate(rows, 1):
        table.add_row(str(number), *(row[name] for name in names))
    return table


def _cells(place: Place, board: Board, metric: Metric) -> dict[str, str]:
    """The cells of a row by the names of their columns."""
    group, summary = place.group, place.group.summary
    # a run of another version may lack a param
    params = {key: group.params[key] for key in board.varying}
    cells = {k: escape("–" if value is None else as_text(value)) for k, value in params.items()}
    cells |= {"n": str(len(group.runs)), "accuracy": metric.text(summary.mean)}
    spread = ("", "")
    if summary.sd is not None and summary.margin is not None:
        margin = formatting.spread(metric, summary.margin)
        spread = (formatting.spread(metric, summary.sd), f"± {margin}")
    cells |= dict(zip(("sd", "interval"), spread, strict=True))
    if metric.name != "loss":
        cells["loss"] = METRICS["loss"].text(group.loss.mean)
    colour = COLOURS.get(place.standing, "dim")
    p = f" ({formatting.named_p(place.p)})" if place.p is not None else ""
    against = f"[{colour}]{place.standing.value}{p}[/]"
    return cells | {"against the best": against, "best run": escape(group.runs[0].name)}


def _winner(board: Board) -> str:
    """Which group has won, in a sentence; empty for a single group."""
    others = len(board.places) - 1
    if not others:
        return ""
    standings = [place.standing for place in board.places]
    if Standing.BEST not in standings:
        return "No winner yet: each has one seed, and chance may have decided their order."
    best = standings.index(Standing.BEST)
    unclear = others - standings.count(Standing.WORSE)
    if not unclear:
        return f"Winner: #{best + 1}, better than {'the other' if others == 1 else 'all others'}."
    return (
        f"No clear winner: #{best + 1} is the best of several seeds, but is not shown to be better "
        f"than {unclear} of {formatting.count(others, 'other')}."
    )


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
