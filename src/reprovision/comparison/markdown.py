"""The comparison as Markdown, for a comment on a pull request."""

import re
from collections.abc import Iterator

from reprovision.comparison import formatting
from reprovision.comparison.comparison import Comparison, Verdict
from reprovision.comparison.gate import Outcome

MARKS = {Verdict.BETTER: "🟢 ", Verdict.WORSE: "🔴 "}

CLASSES = 20
"""Classes shown: a comment must stay readable, and below the size that Git hosts allow."""

IMAGES = 10

HARMLESS = re.compile(r"[A-Za-z0-9 .,%()+<=-]*")
"""Cells that Markdown shows as they are."""

LINKING = re.compile(r"[@#]|://?|www(?=\.)|GH(?=-)")
"""What GitHub makes a mention, a reference or a link of, together with what follows."""


def render(comparison: Comparison, outcome: Outcome | None) -> str:
    """The whole report; `outcome` is the gate's, if there is one."""
    mark = MARKS.get(comparison.verdict, "⚪ ")
    parts = [
        f"## {_plain(comparison.base.title)} → {_plain(comparison.head.title)}",
        f"{mark}**{_plain(formatting.headline(comparison))}**",
        *([f"**{_plain(outcome.line)}**"] if outcome else []),
        *(f"> {_plain(note)}" for note in comparison.notes),
        *_tables(comparison),
    ]
    return "\n\n".join(parts) + "\n"


def _tables(comparison: Comparison) -> Iterator[str]:
    params = formatting.params_table(comparison)
    if params.rows:
        yield _table(params)
    if comparison.identical_outputs:
        return
    if not params.rows:
        yield formatting.SAME_PARAMS
    yield _table(formatting.metrics_table(comparison))
    for title, table in _folded(comparison):
        yield f"<details><summary>{title}</summary>\n\n{_table(table)}\n\n</details>"
    for line in formatting.legend(comparison):
        yield f"<sub>{_plain(line)}</sub>"


def _folded(comparison: Comparison) -> Iterator[tuple[str, formatting.Table]]:
    """Recalls, images and training curves, each behind a summary to click on."""
    total = len(comparison.recalls)
    if total:
        which = f", the {CLASSES} that changed most of {total}" if total > CLASSES else ""
        yield f"Recall by class{which}", formatting.recalls_table(comparison, "class", CLASSES)
    for title, _, images in formatting.disagreements(comparison, IMAGES):
        yield title, images
    curves = formatting.curves_table(comparison)
    if curves.rows:
        yield "Training curves", curves


def _table(table: formatting.Table) -> str:
    lines = [table.columns, ("---",) * len(table.columns), *table.rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    if isinstance(text, Verdict):
        return MARKS.get(text, "") + text
    return text if HARMLESS.fullmatch(text) and "www." not in text else _code(text)


def _code(text: str) -> str:
    """Text as code, which nothing in it can end: names of classes and images are data."""
    line = " ".join(text.split()).replace("|", r"\|")
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    return f"{fence} {line} {fence}" if "`" in line else f"{fence}{line}{fence}"


def _plain(text: str) -> str:
    """A sentence in which names neither format, nor link, nor mention anybody.

    GitHub reads a mention also from `&#64;name`: a space of no width keeps it from doing so.
    """
    escaped = text.replace("&", "&amp;").replace("<", "&lt;")
    # GitHub reads text between dollars as a formula
    escaped = re.sub(r"([\\`*_\[\]|~$])", r"\\\1", " ".join(escaped.splitlines()))
    return LINKING.sub(r"\g<0>&#8203;", escaped)
