"""`reprovision diff`: opens both revisions, compares them, shows the report, asks the gate."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from reprovision.core.files import write_text
from reprovision.report import gate as gates
from reprovision.report.comparison import Comparison, compare
from reprovision.report.gate import Gate
from reprovision.report.results import read_results
from reprovision.report.revisions import open_revision


def diff(names: Sequence[str], alpha: float, gate: Gate, markdown: bool, page: Path | None) -> bool:
    """Prints the report of two revisions, base first; returns whether it passed the gate.

    Args:
        alpha: level of the tests.
        markdown: print Markdown instead of tables for a terminal.
        page: where to write the report as HTML, too.

    Raises:
        UserError: there is no such revision, or it has no results.
    """
    with tempfile.TemporaryDirectory(prefix="reprovision-") as folder:
        revisions = [open_revision(name, Path(folder, str(i))) for i, name in enumerate(names)]
        base, head = (read_results(revision) for revision in revisions)
    comparison = compare(base, head, alpha)
    outcome = None if gate.is_open else gates.check(gate, comparison)
    _show(comparison, outcome, markdown)
    if page is not None:
        from reprovision.report.page import render

        write_text(page, render(comparison, outcome))
        print(f"written: {page}", file=sys.stderr)
    if outcome:
        print(outcome.line, file=sys.stderr)
    return outcome is None or outcome.passed


def _show(comparison: Comparison, outcome: gates.Outcome | None, markdown: bool) -> None:
    if markdown:
        from reprovision.report.markdown import render

        print(render(comparison, outcome), end="")
    else:
        from reprovision.report.terminal import print_report

        print_report(comparison)
