"""The comparison as Markdown, for a comment on a pull request."""

import re
from collections.abc import Iterable, Iterator, Sequence

from reprovision.comparison import formatting
from reprovision.comparison.comparison import Change, Comparison, Verdict
from reprovision.comparison.gate import Outcome

MARKS = {Verdict.BETTER: "🟢 ", Verdict.WORSE: "🔴 "}

CLASSES = 20
"""Classes shown: a comment must stay readable, and below the size that Git hosts allow."""

IMAGES = 10


def render(comparison: Comparison, outcome: Outcome | None) -> str:
    """The whole report; `outcome` is the gate's, if there is one."""
    mark = MARKS.get(comparison.verdict, "⚪ ")
    parts = [
        f"## {_plain(comparison.base.title)} → {_plain(comparison.head.title)}",
        f"{mark}**{_plain(formatting.headline(comparison))}**",
        *([f"**{_plain(outcome.line)}**"] if outcome else []),
        *(f"> {_plain(note)}" for note in comparison.notes),
        _params(comparison),
        _changes("metric", comparison.metrics, comparison),
        *_folded_parts(comparison),
        *(f"<sub>{_plain(line)}</sub>" for line in formatting.legend(comparison)),
    ]
    return "\n\n".join(parts) + "\n"


def _params(comparison: Comparison) -> str:
    if not comparison.params:
        return "All params are the same."
    header = ("param", comparison.base.name, comparison.head.name)
    return _table(header, map(formatting.param_change, comparison.params))


def _changes(heading: str, changes: Iterable[Change], comparison: Comparison) -> str:
    names = comparison.base.name, comparison.head.name
    rows = (
        (*formatting.change_row(change), MARKS.get(change.verdict, "") + change.verdict)
        for change in changes
    )
    return _table((heading, *names, "change", "p", "verdict"), rows)


def _folded_parts(comparison: Comparison) -> Iterator[str]:
    """Recalls, images and training curves, each behind a summary to click on."""
    if comparison.recalls:
        changed = sorted(comparison.recalls, key=lambda c: (c.p or 0.0, -abs(c.value)))[:CLASSES]
        total = len(comparison.recalls)
        which = f", the {CLASSES} that changed most of {total}" if total > CLASSES else ""
        yield _folded(f"Recall by class{which}", _changes("class", changed, comparison))
    header = ("image", "actual", comparison.base.name, comparison.head.name)
    for title, rows in formatting.disagreements(comparison):
        shown = [formatting.image(comparison, row) for row in rows[:IMAGES]]
        of = f"{len(shown)} of {formatting.count(len(rows), 'image')}"
        yield _folded(f"{title}: {of}, most confident errors first", _table(header, shown))
    if curves := formatting.curves(comparison):
        yield _folded("Training curves", _table(("training", "loss by epoch", ""), curves))


def _folded(summary: str, content: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{content}\n\n</details>"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(_plain(cell) for cell in cells)} |" for cells in lines)


def _plain(text: str) -> str:
    """Names of classes, images and commits are data: they neither format nor mention anybody."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace("@", "&#64;")
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", escaped.replace("\n", " "))
