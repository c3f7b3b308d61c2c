"""The report as Markdown, for a comment on a pull request."""

import re
from collections.abc import Iterable, Sequence

from reprovision.report import wording
from reprovision.report.comparison import Change, Comparison, Verdict
from reprovision.report.gate import Outcome

MARKS = {Verdict.BETTER: "🟢 ", Verdict.WORSE: "🔴 "}

CLASSES = 20
"""Classes shown: a comment must stay readable, and below what Git hosts allow."""

IMAGES = 10


def render(comparison: Comparison, outcome: Outcome | None) -> str:
    """The whole report; `outcome` is the gate's, if there is one."""
    base, head = comparison.base.revision.title, comparison.head.revision.title
    mark = MARKS.get(comparison.verdict, "⚪ ")
    parts = [
        f"## {_plain(base)} → {_plain(head)}",
        f"{mark}**{_plain(wording.headline(comparison))}**",
        *([f"**{_plain(outcome.line)}**"] if outcome else []),
        *(f"> {_plain(note)}" for note in comparison.notes),
        _params(comparison),
        _changes("metric", comparison.metrics(), comparison),
        *_classes(comparison),
        *_images(comparison),
        *_curves(comparison),
        *(f"<sub>{_plain(line)}</sub>" for line in wording.legend(comparison)),
    ]
    return "\n\n".join(parts) + "\n"


def _params(comparison: Comparison) -> str:
    if not comparison.params:
        return "All params are the same."
    rows = [(change.name, *wording.param(change)) for change in comparison.params]
    return _table(("param", comparison.base.name, comparison.head.name), rows)


def _changes(heading: str, changes: Iterable[Change], comparison: Comparison) -> str:
    header = (heading, comparison.base.name, comparison.head.name, "change", "p", "verdict")
    rows = [
        (
            wording.title(change.name),
            wording.value(change.name, change.base),
            wording.value(change.name, change.head),
            wording.change(change),
            wording.p_value(change.p).removeprefix("= "),
            MARKS.get(change.verdict, "") + change.verdict,
        )
        for change in changes
    ]
    return _table(header, rows)


def _classes(comparison: Comparison) -> list[str]:
    if not comparison.recalls:
        return []
    changed = sorted(comparison.recalls, key=lambda c: (c.p or 0.0, -abs(c.value)))[:CLASSES]
    total = len(comparison.recalls)
    shown = f", the {CLASSES} that changed most of {total}" if total > CLASSES else ""
    table = _changes("class", changed, comparison)
    return [_folded(f"Recall by class{shown}", table)]


def _images(comparison: Comparison) -> list[str]:
    header = ("image", "actual", comparison.base.name, comparison.head.name)
    parts = []
    for name, rows in wording.disagreements(comparison):
        shown = [wording.image(comparison, row) for row in rows[:IMAGES]]
        summary = f"{name}: {len(shown)} of {len(rows):,}, the surest mistakes first"
        parts.append(_folded(summary, _table(header, shown)))
    return parts


def _curves(comparison: Comparison) -> list[str]:
    known = [(r.name, r.history) for r in (comparison.base, comparison.head) if r.history]
    if not known:
        return []
    ceiling = max(loss for _, history in known for loss in wording.losses_of(history))
    rows = [
        (name, wording.sparkline(history, ceiling), wording.best_epoch(history))
        for name, history in known
    ]
    return [_folded("Training curves", _table(("training", "loss by epoch", ""), rows))]


def _folded(summary: str, content: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{content}\n\n</details>"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(_plain(cell) for cell in cells)} |" for cells in lines)


def _plain(text: str) -> str:
    """Names of classes, images and commits are data: they neither format nor call anybody."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace("@", "&#64;")
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", escaped.replace("\n", " "))
