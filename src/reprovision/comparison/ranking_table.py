"""`reprovision leaderboard`: the ranking of finished runs as tables for a terminal."""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.padding import Padding
from rich.segment import Segment, Segments
from rich.table import Table

from reprovision.comparison import formatting
from reprovision.comparison.ranking import (
    Board,
    Place,
    Standing,
    rank,
    runs_with,
)
from reprovision.core.wording import count
from reprovision.core.yaml_files import as_text
from reprovision.results.metrics import METRICS, Metric
from reprovision.results.run import Run

COLOURS = {Standing.BEST: "green", Standing.WORSE: "red", Standing.UNCLEAR: "yellow"}

OPTIONAL = ("loss", "interval", "sd")
"""Columns that a narrow terminal goes without, in this order."""

NUMBER, NAME = "#", "best run"

TEXTS = ("against the best", NAME)
"""Columns that are aligned on the left."""

TAKEN = ("n", "accuracy", "sd", "interval", "loss")
"""Names of columns, which no param is shortened to."""

PIPED_WIDTH = 250
"""Columns where the output is a file or a pipe, which can take long lines."""


def print_leaderboard(runs: Sequence[Run], metric_name: str, top: int) -> None:
    """Prints the ranking of runs to standard output; see `show_leaderboard`."""
    width = None if sys.stdout.isatty() else PIPED_WIDTH
    show_leaderboard(runs, metric_name, Console(highlight=False, width=width), top)


def show_leaderboard(
    runs: Sequence[Run],
    metric_name: str,
    console: Console,
    top: int,
    confidence: float = 0.95,
) -> None:
    """Prints the ranking of runs on each test set, and below the last how to read them.

    Args:
        runs: the newest first.
        metric_name: what to rank by.
        top: how many places of each table to show; the one that others are tested against, too.
        confidence: of the intervals.

    Raises:
        UserError: there are no runs, or none has the metric.
    """
    found = runs_with(metric_name, runs)
    metric, boards = METRICS[metric_name], rank(found, metric_name, confidence)
    names = short_names(dict.fromkeys(key for run in found for key in run.relevant_params))
    for number, board in enumerate(boards):
        if number:
            console.print()
        _print_board(board, names, metric, confidence, console, top)
    if lacking := len(runs) - len(found):
        console.print(f"[dim]{count(lacking, 'run')} without {metric.title} left out.[/]")
    for line in _legend(boards, metric, confidence):
        console.print(f"[dim]{escape(line)}[/]")


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """The shortest end of each dotted key that no other has, e.g. `lr` for train.lr."""
    ends = {key: [key.split(".", at)[-1] for at in range(key.count("."), -1, -1)] for key in keys}
    uses = Counter([*TAKEN, *(end for found in ends.values() for end in found)])
    return {key: next((e for e in found if uses[e] == 1), key) for key, found in ends.items()}


def _print_board(
    board: Board,
    names: Mapping[str, str],
    metric: Metric,
    confidence: float,
    console: Console,
    top: int,
) -> None:
    test_set, ways = board.test_sets[0], len(board.test_sets)
    which = test_set.digest[:8] if ways == 1 else f"prepared in {ways} ways"
    console.print(
        f"[bold]{escape(board.name)}[/], {count(test_set.images, 'test image')} ({which}), "
        f"{count(len(board.runs), 'run')}"
    )
    # what was trained otherwise matters where there is nothing else to show
    single = len(board.places) == 1
    common = {key: v for key, v in board.common.items() if single or key.startswith("data.")}
    if common:
        console.print(f"[dim]with {escape(_pairs(common, names))}[/]")
    best = [i for i, place in enumerate(board.places) if place.standing is Standing.BEST]
    shown = sorted({*range(min(top, len(board.places))), *best})
    _print_places(board, shown, names, metric, confidence, console)
    if len(shown) < len(board.places):
        console.print(
            f"[dim]{count(len(board.places) - len(shown), 'place')} not shown: "
            f"--top {len(board.places)} shows all.[/]"
        )
    if winner := _winner(board):
        console.print(f"[bold]{escape(winner)}[/]")
    if board.repeats:
        console.print(
            f"[dim]{count(board.repeats, 'older run')} of the same params, code and "
            "seed, but with other metrics, left out.[/]"
        )


def _print_places(
    board: Board,
    shown: Sequence[int],
    names: Mapping[str, str],
    metric: Metric,
    confidence: float,
    console: Console,
) -> None:
    """The widest table that fits; params that don't fit as columns stand below each place."""
    titles = {"accuracy": metric.title, "interval": f"{confidence:.0%} interval"}
    places = [board.places[i] for i in shown]
    numbers = [{NUMBER: str(i + 1)} for i in shown]
    rows = [_cells(place, metric) for place in places]
    params = [_params(place, board, names) for place in places]
    wide = [n | p | row for n, p, row in zip(numbers, params, rows, strict=True)]
    table = _widest(wide, titles, console)
    if _fits(table, console):
        console.print(table)
        return
    below = [row.pop(NAME) for row in rows]
    table = _widest([n | row for n, row in zip(numbers, rows, strict=True)], titles, console)
    table.show_edge = False
    # no cell is folded, so that each row is one line
    header, rule, *lines = console.render_lines(table, pad=False)
    console.print(Segments([Segment.line(), *header, Segment.line(), *rule, Segment.line()]))
    for place, line, name in zip(places, lines, below, strict=True):
        pairs = escape(_pairs(place.group.params, names))
        console.print(Segments([*line, Segment.line()]))
        console.print(Padding(f"{name}: [dim]{pairs}[/]", (0, 0, 0, 4)))
    console.print()


def _pairs(params: Mapping[str, Any], names: Mapping[str, str]) -> str:
    return "  ".join(f"{names.get(key, key)}={as_text(value)}" for key, value in params.items())


def _widest(
    rows: Sequence[Mapping[str, str]], titles: Mapping[str, str], console: Console
) -> Table:
    """The table with the most columns that fits, or the narrowest one."""
    for left_out in range(len(OPTIONAL) + 1):
        columns = [name for name in rows[0] if name not in OPTIONAL[:left_out]]
        table = _draw(rows, columns, titles)
        if _fits(table, console):
            break
    return table


def _fits(table: Table, console: Console) -> bool:
    # in its own options, nothing is wider than the console
    wide = console.options.update(max_width=10_000)
    return Measurement.get(console, wide, table).maximum <= console.width


def _draw(
    rows: Sequence[Mapping[str, str]], columns: Sequence[str], titles: Mapping[str, str]
) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        justify: Literal["left", "right"] = "left" if name in TEXTS else "right"
        table.add_column(escape(titles.get(name, name)), justify=justify, no_wrap=True)
    for row in rows:
        table.add_row(*(row[name] for name in columns))
    return table


def _params(place: Place, board: Board, names: Mapping[str, str]) -> dict[str, str]:
    """The cells of the params that differ, by their short names."""
    texts = {key: as_text(v) for key, v in place.group.params.items() if v is not None}
    return {names.get(key, key): escape(texts.get(key, "–")) for key in board.varying}


def _cells(place: Place, metric: Metric) -> dict[str, str]:
    """The other cells of a row by the names of their columns."""
    group, summary = place.group, place.group.summary
    cells = {"n": str(len(group.runs)), "accuracy": metric.text(summary.mean)}
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
    return cells | {"against the best": against, NAME: escape(group.runs[0].name)}


def _winner(board: Board) -> str:
    """Which group has won, in a sentence; empty for a single group."""
    others = len(board.places) - 1
    if not others:
        return ""
    standings = [place.standing for place in board.places]
    if Standing.BEST not in standings:
        return "No winner yet: each has one seed, and chance may have decided their order."
    best = standings.index(Standing.BEST)
    reasons = {
        Standing.UNCLEAR: "is not shown to be better than {}",
        Standing.TOO_FEW: "can't be compared with {}, of one seed each",
        Standing.NO_SPREAD: "can't be compared with {}, because all seeds give the same",
    }
    numbers = {standing: standings.count(standing) for standing in reasons}
    if not any(numbers.values()):
        return f"Winner: #{best + 1}, better than {'the other' if others == 1 else 'all others'}."
    if numbers[Standing.TOO_FEW] == others:
        return f"No winner yet: only #{best + 1} has several seeds, which a comparison needs."
    found = [
        reason.format("the other" if others == 1 else f"{numbers[standing]} of {others} others")
        for standing, reason in reasons.items()
        if numbers[standing]
    ]
    return f"No clear winner: #{best + 1} is the best of several seeds, but {' and '.join(found)}."


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
    if any(len(board.test_sets) > 1 for board in boards):
        yield (
            "Images that were prepared in several ways, e.g. at other sizes, are the same by their "
            "names and labels."
        )
    if any(place.standing is Standing.TOO_FEW for board in boards for place in board.places):
        yield (
            "More seeds: uv run dvc exp run --queue -S seed=0,1,2,3,4 -S ..., then "
            "uv run dvc queue start. Two single runs: uv run reprovision diff A B."
        )
