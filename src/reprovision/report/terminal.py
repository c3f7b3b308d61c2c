"""The report as tables for a terminal."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from reprovision.report import wording
from reprovision.report.comparison import Change, Comparison, Verdict

COLOURS = {Verdict.BETTER: "green", Verdict.WORSE: "red"}

WIDE = 120

IMAGES = 5
"""Images shown of each kind: the page has more, with thumbnails."""


def print_report(comparison: Comparison) -> None:
    """Prints the whole report."""
    console = Console(highlight=False)
    if not console.is_terminal:
        # nobody's window limits a file or a pipe
        console.width = WIDE
    base, head = comparison.base.revision.title, comparison.head.revision.title
    console.print(f"[bold]{escape(base)}[/] → [bold]{escape(head)}[/]\n", soft_wrap=True)
    colour = COLOURS.get(comparison.verdict, "yellow")
    console.print(f"[bold {colour}]{escape(wording.headline(comparison))}[/]\n", soft_wrap=True)
    for note in comparison.notes:
        console.print(f"[yellow]note:[/] {escape(note)}\n", soft_wrap=True)
    console.print(_params(comparison), "")
    console.print(_changes("metric", comparison.metrics(), comparison), "")
    if comparison.recalls:
        console.print(_changes("recall of class", comparison.recalls, comparison), "")
    _print_images(console, comparison)
    _print_curves(console, comparison)
    for line in wording.legend(comparison):
        console.print(f"[dim]{escape(line)}[/]", soft_wrap=True)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold underline")
    for column in columns:
        table.add_column(escape(column))
    return table


def _params(comparison: Comparison) -> Table | str:
    if not comparison.params:
        return "All params are the same."
    table = _table("param", comparison.base.name, comparison.head.name)
    for change in comparison.params:
        table.add_row(*map(escape, (change.name, *wording.param(change))))
    return table


def _changes(heading: str, changes: list[Change], comparison: Comparison) -> Table:
    table = _table(heading, comparison.base.name, comparison.head.name, "change", "p", "verdict")
    for change in changes:
        colour = COLOURS.get(change.verdict, "dim")
        table.add_row(
            escape(wording.title(change.name)),
            wording.value(change.name, change.base),
            wording.value(change.name, change.head),
            wording.change(change),
            wording.p_value(change.p).removeprefix("= "),
            f"[{colour}]{change.verdict}[/]",
        )
    return table


def _print_images(console: Console, comparison: Comparison) -> None:
    for name, rows in wording.disagreements(comparison):
        shown = [wording.image(comparison, row) for row in rows[:IMAGES]]
        console.print(f"[bold]{name}[/], {len(shown)} of {len(rows):,}, the surest mistakes first:")
        table = _table("image", "actual", comparison.base.name, comparison.head.name)
        for cells in shown:
            table.add_row(*map(escape, cells))
        console.print(table, "")


def _print_curves(console: Console, comparison: Comparison) -> None:
    known = [
        (results.name, results.history)
        for results in (comparison.base, comparison.head)
        if results.history
    ]
    if not known:
        return
    ceiling = max(loss for _, history in known for loss in wording.losses_of(history))
    table = _table("training", "loss by epoch", "")
    for name, history in known:
        table.add_row(
            escape(name), wording.sparkline(history, ceiling), wording.best_epoch(history)
        )
    console.print(table, "")
