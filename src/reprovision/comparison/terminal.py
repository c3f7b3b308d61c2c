"""The comparison as tables for a terminal."""

import sys

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from reprovision.comparison import formatting
from reprovision.comparison.comparison import Comparison, Verdict

COLOURS = {Verdict.BETTER: "green", Verdict.WORSE: "red"}

PIPED_WIDTH = 120
"""Columns where the output is a file or a pipe."""

IMAGES = 5
"""Images shown of each kind; the HTML page has more, with thumbnails."""


def print_report(comparison: Comparison) -> None:
    """Prints the whole report."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)
    base, head = escape(comparison.base.title), escape(comparison.head.title)
    console.print(f"[bold]{base}[/] → [bold]{head}[/]\n", soft_wrap=True)
    colour = COLOURS.get(comparison.verdict, "yellow")
    headline = escape(formatting.headline(comparison))
    console.print(f"[bold {colour}]{headline}[/]\n", soft_wrap=True)
    for note in comparison.notes:
        console.print(f"[yellow]note:[/] {escape(note)}\n", soft_wrap=True)
    params = formatting.params_table(comparison)
    if params.rows:
        console.print(_rich(params), "")
    if comparison.identical_outputs:
        return
    if not params.rows:
        console.print(formatting.SAME_PARAMS, "")
    console.print(_rich(formatting.metrics_table(comparison)), "")
    recalls = formatting.recalls_table(comparison, "recall of class")
    if recalls.rows:
        console.print(_rich(recalls), "")
    for title, _, images in formatting.disagreements(comparison, IMAGES):
        console.print(f"[bold]{title}[/]")
        console.print(_rich(images), "")
    curves = formatting.curves_table(comparison)
    if curves.rows:
        console.print(_rich(curves), "")
    for line in formatting.legend(comparison):
        console.print(f"[dim]{escape(line)}[/]", soft_wrap=True)


def _rich(table: formatting.Table) -> Table:
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold underline")
    for column in table.columns:
        shown.add_column(escape(column))
    for row in table.rows:
        shown.add_row(*map(_cell, row))
    return shown


def _cell(text: str) -> str:
    if isinstance(text, Verdict):
        return f"[{COLOURS.get(text, 'dim')}]{text}[/]"
    return escape(text)
