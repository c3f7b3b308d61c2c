"""`reprovision diff`: finds both runs, compares them, shows the report, checks the gate."""

import sys
from pathlib import Path

from reprovision.comparison import gate as gates
from reprovision.comparison.comparison import compare
from reprovision.comparison.gate import Gate
from reprovision.core.files import write_text
from reprovision.results.run import find_run


def diff(base: str, head: str, alpha: float, gate: Gate, markdown: bool, page: Path | None) -> bool:
    """Prints the comparison of two revisions; returns whether it passed the gate.

    Args:
        alpha: level of the tests.
        markdown: print Markdown instead of tables for a terminal.
        page: where to write the report as HTML, too.

    Raises:
        UserError: there is no such revision, or it has no results.
    """
    comparison = compare(find_run(base), find_run(head), alpha)
    outcome = None if gate.is_open else gates.check(gate, comparison)
    if markdown:
        from reprovision.comparison.markdown import render

        print(render(comparison, outcome), end="")
    else:
        from reprovision.comparison.terminal import print_report

        print_report(comparison)
    if page is not None:
        from reprovision.comparison.page import render

        write_text(page, render(comparison, outcome))
        print(f"written: {page}", file=sys.stderr)
    if outcome:
        print(outcome.line, file=sys.stderr)
    return outcome is None or outcome.passed
