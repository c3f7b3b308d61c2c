"""The leaderboard as tables for a terminal."""

import json
import sys
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from reprovision.leaderboard.importance import Importance
from reprovision.leaderboard.ranking import Board, Place, Standing, Summary
from reprovision.leaderboard.runs import SMALLER_IS_BETTER

COLOURS = {Standing.BEST: "green", Standing.WORSE: "red", Standing.UNCLEAR: "yellow"}

IN_NATS = ("loss",)
"""Metrics that are no fraction of one."""

PIPED_WIDTH = 250
"""Columns where the output is no terminal: a file or another program can take long lines."""


def print_boards(
    boards: Sequence[Board],
    importances: Sequence[Importance | None],
    metric: str,
    confidence: float = 0.95,
) -> None:
    """Prints each ranking, below it the importance of the params, and at the end how to read it."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)
    for board, importance in zip(boards, importances, strict=True):
        test_set = board.test_set
        console.print(
            f"[bold]{escape(test_set.name)}[/], {test_set.images:,} test images "
            f"({test_set.digest[:8]}), {len(board.runs)} run{'s' if len(board.runs) > 1 else ''}"
        )
        console.print(_table(board, metric, confidence))
        if board.repeats:
            console.print(
                f"[dim]{board.repeats} older runs of the same params, code and seed, but other "
                "figures, are left out.[/]"
            )
        if importance:
            _print_importance(console, importance, metric)
    for line in _legend(boards, metric, confidence):
        console.print(f"[dim]{escape(line)}[/]")


def _table(board: Board, metric: str, confidence: float) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("#", justify="right")
    for heading in (*board.varying, "n"):
        table.add_column(escape(heading), justify="right", overflow="fold")
    for heading in (metric, "sd", f"{confidence:.0%} interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    if metric != "loss":
        table.add_column("loss", justify="right", no_wrap=True)
    table.add_column("against the best", no_wrap=True)
    table.add_column("best run")
    for number, place in enumerate(board.places, 1):
        table.add_row(str(number), *_cells(place, board, metric))
    return table


def _cells(place: Place, board: Board, metric: str) -> list[str]:
    group = place.group
    cells = [escape(_text(group.params[key])) for key in board.varying]
    cells += [str(len(group.runs)), *_figures(group.summary, metric)]
    if metric != "loss":
        cells.append(_value(group.loss.mean, "loss"))
    colour = COLOURS.get(place.standing, "dim")
    p = "" if place.p is None else f" (p {_p(place.p)})"
    return [*cells, f"[{colour}]{place.standing.value}{p}[/]", escape(group.runs[0].name)]


def _figures(summary: Summary, metric: str) -> tuple[str, str, str]:
    if summary.sd is None or summary.margin is None:
        return _value(summary.mean, metric), "", ""
    return (
        _value(summary.mean, metric),
        _spread(summary.sd, metric),
        f"± {_spread(summary.margin, metric)}",
    )


def _print_importance(console: Console, importance: Importance, metric: str) -> None:
    runs = importance.runs
    if importance.explained <= 0:
        console.print(f"{runs} runs do not tell which params {metric} depends on.\n")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("param")
    table.add_column("importance", justify="right")
    for key, loss in importance.losses.items():
        table.add_row(escape(key), f"{loss:.2f}")
    console.print(table)
    console.print(
        f"[dim]Importance: how much of the R² of {metric} is lost when the param is shuffled among "
        f"the {runs} runs, by a random forest that explains {importance.explained:.0%} of the "
        "variance of runs it has not seen.[/]"
    )


def _legend(boards: Sequence[Board], metric: str, confidence: float) -> list[str]:
    best = "lowest" if metric in SMALLER_IS_BETTER else "highest"
    lines = [
        f"Means over seeds, the {best} first; n counts seeds. sd and interval (Student's t) tell "
        "the spread over seeds on this one test set.",
        "Against the best group of several seeds: Welch's t test, p adjusted after Benjamini and "
        f"Hochberg, level {1 - confidence:.2g}.",
    ]
    if len(boards) > 1:
        lines.append("Runs with other test images are not compared: each test set has its table.")
    if any(place.standing is Standing.TOO_FEW for board in boards for place in board.places):
        lines.append(
            "More seeds: uv run dvc exp run --queue -S seed=0,1,2,3,4 -S ..., then "
            "uv run dvc queue start. Two single runs: uv run reprovision diff A B."
        )
    return lines


def _value(number: float, metric: str) -> str:
    return f"{number:.4f}" if metric in IN_NATS else f"{number:.2%}"


def _spread(number: float, metric: str) -> str:
    """A difference, in the metric's unit; of percentages, in points."""
    return f"{number:.4f}" if metric in IN_NATS else f"{100 * number:.2f}"


def _p(p: float) -> str:
    return "< 0.0001" if p < 0.0001 else f"= {p:.2g}"


def _text(value: Any) -> str:
    """A param's value as params.yaml has it; a dash where the run has no such param."""
    return "–" if value is None else value if isinstance(value, str) else json.dumps(value)
