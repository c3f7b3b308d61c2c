"""docs/performance.md says what was measured."""

import sys
from pathlib import Path

from project import ROOT

# the benchmarks lie beside the tests and are no part of the package
sys.path.insert(0, str(ROOT))

from benchmarks.report import DOCS, write_report
from benchmarks.results import FOLDER


def test_the_page_is_the_one_that_the_results_make(tmp_path: Path) -> None:
    write_report(FOLDER, tmp_path)
    page = "performance.md"
    assert (tmp_path / page).read_text("utf-8") == (DOCS / page).read_text("utf-8")
