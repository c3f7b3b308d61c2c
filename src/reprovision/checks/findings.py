"""What checks find, and how it is kept: `finding,image,other,detail` in a CSV file."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from reprovision.core.files import write_csv

COLUMNS = ("finding", "image", "other", "detail")


@dataclass(frozen=True)
class Example:
    """One image, or one class, that is affected.

    Attributes:
        image: where it comes from; empty where the finding is not about an image.
        other: where the image comes from that it is a copy of.
        detail: anything else.
    """

    image: str = ""
    other: str = ""
    detail: str = ""

    def __str__(self) -> str:
        copy = " = ".join(text for text in (self.image, self.other) if text)
        return f"{copy} ({self.detail})" if copy and self.detail else copy or self.detail


@dataclass(frozen=True)
class Finding:
    """All that one check has found.

    Attributes:
        name: in the CSV file.
        sentence: what it means.
        examples: one or more, all of them.
        serious: whether metrics or labels are wrong because of it.
    """

    name: str
    sentence: str
    examples: Sequence[Example] = (Example(),)
    serious: bool = False


def write_findings(path: str | Path, findings: Iterable[Finding]) -> None:
    """Writes one row per example."""
    rows = (
        (finding.name, e.image, e.other, e.detail or ("" if e.image else finding.sentence))
        for finding in findings
        for e in finding.examples
    )
    write_csv(path, COLUMNS, rows)


def warnings_of(findings: Iterable[Finding]) -> list[str]:
    """One line per finding, with its first example."""
    lines = []
    for finding in findings:
        first = str(finding.examples[0])
        lines.append(f"{finding.sentence}, e.g. {first}" if first else finding.sentence)
    return lines
