"""The comparison as tables for a terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from reprovision.comparison import formatting
from reprovision.comparison.comparison import Change, Comparison, Verdict

COLOURS = {Verdict.BETTER: "green", Verdict.WORSE: "red"}

PIPED_WIDTH = 120
"""Columns where the output is a file or a pipe."""

IMAGES = 5
"""Images shown of each kind; the HTML page has more, with thumbnails."""


def print_report(comparison: Comparison) -> None:
    """Prints the whole report."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPED_WIDTH
    base, head = escape(comparison.base.title), escape(comparison.head.title)
    console.print(f"[bold]{base}[/] → [bold]{head}[/]\n", soft_wrap=True)
    colour = COLOURS.get(comparison.verdict, "yellow")
    headline = escape(formatting.headline(comparison))
    console.print(f"[bold {colour}]{headline}[/]\n", soft_wrap=True)
    for note in comparison.notes:
        console.print(f"[yellow]note:[/] {escape(note)}\n", soft_wrap=True)
    console.print(_params(comparison), "")
    console.print(_changes("metric", comparison.metrics, comparison), "")
    if comparison.recalls:
        console.print(_changes("recall of class", comparison.recalls, comparison), "")
    _print_images(console, comparison)
    if curves := formatting.curves(comparison):
        console.print(_table(("training", "loss by epoch", ""), curves), "")
    for line in formatting.legend(comparison):
        console.print(f"[dim]{escape(line)}[/]", soft_wrap=True)


def _table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold underline")
    for column in columns:
        table.add_column(escape(column))
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def _params(comparison: Comparison) -> Table | str:
    if not comparison.params:
        return "All params are the same."
    columns = ("param", comparison.base.name, comparison.head.name)
    return _table(columns, [formatting.param_change(change) for change in comparison.params])


def _changes(heading: str, changes: list[Change], comparison: Comparison) -> Table:
    names = comparison.base.name, comparison.head.name
    table = _table((heading, *names, "change", "p", "verdict"), [])
    for change in changes:
        colour = COLOURS.get(change.verdict, "dim")
        cells = map(escape, formatting.change_row(change))
        table.add_row(*cells, f"[{colour}]{change.verdict}[/]")
    return table


def _print_images(console: Console, comparison: Comparison) -> None:
    columns = ("image", "actual", comparison.base.name, comparison.head.name)
    for title, rows in formatting.disagreements(comparison):
        shown = [formatting.image(comparison, row) for row in rows[:IMAGES]]
        heading = f"[bold]{title}[/]: {len(shown)} of {formatting.count(len(rows), 'image')}"
        console.print(f"{heading}, most confident errors first")
        console.print(_table(columns, shown), "")
