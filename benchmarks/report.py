"""docs/performance.md and its plots, made from the results."""

from pathlib import Path

import jinja2

from benchmarks import plots
from benchmarks.parts import NAMES, find
from benchmarks.process import ROOT
from benchmarks.results import Result, header, load_result, table
from benchmarks.samples import Row
from reprovision.core.files import write_text

DOCS = ROOT / "docs"
TEMPLATE = Path(__file__).with_name("performance.md.j2")


def write_report(results: Path, docs: Path) -> None:
    """Writes the page from what was measured; parts that weren't are left out.

    Args:
        results: the folder of the JSON files.
        docs: the folder for performance.md and images/.
    """
    found = {name: result for name in NAMES if (result := load_result(name, results))}
    for name, draw in plots.PLOTS.items():
        if name in found:
            draw(found[name].samples, docs / "images" / f"performance-{name}.png")
    parts = {name: _section(result) for name, result in found.items()}
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, autoescape=False)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    text = template.render(parts=parts, missing=[name for name in NAMES if name not in found])
    write_text(docs / "performance.md", text.rstrip() + "\n")
    print(f"{docs / 'performance.md'} from {', '.join(found)}")


def _section(result: Result) -> dict[str, object]:
    part = find(result.name)
    rows = part.rows(result.samples)
    return {
        "title": part.TITLE,
        "header": header(result.machine).replace("\n", "; "),
        "toy": result.toy,
        "seconds": result.seconds,
        "table": table(rows),
        "targets": [row for row in rows if row.met is not None],
        "missed": _missed(rows),
    }


def _missed(rows: list[Row]) -> list[tuple[str, str]]:
    """For each obstacle the rows that it is in the way of, and itself."""
    obstacles: dict[str, list[str]] = {}
    for row in rows:
        if row.met is False:
            obstacles.setdefault(row.obstacle, []).append(row.what)
    return [("; ".join(whats), obstacle) for obstacle, whats in obstacles.items()]
