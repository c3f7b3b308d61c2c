"""`reprovision check`: what is wrong with a source of images, before anything is trained."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import wrap

import numpy as np

from reprovision.checks.charts import draw_dataset
from reprovision.checks.findings import Finding, write_findings
from reprovision.checks.groups import check_groups
from reprovision.checks.images import Images, read_source
from reprovision.checks.looks import SMALLEST
from reprovision.checks.rules import check_images
from reprovision.core.errors import UserError, printable
from reprovision.core.params import load_params
from reprovision.core.wording import count
from reprovision.data.dataset import SPLITS
from reprovision.results.layout import PARAMS, downloads
from reprovision.sources import open_source

SERIOUS = 3
"""Exit status where metrics or labels are wrong."""

WIDTH = 80
SHOWN = 3
"""Examples of each finding on the terminal."""

LARGEST = 10
"""Classes up to which all are listed on the terminal."""


def check(path: str, folder: Path) -> bool:
    """Prints what is found in a source, and writes findings.csv and dataset.png into a folder.

    Returns:
        whether nothing serious was found.

    Raises:
        UserError: there is no such source, or no image can be read.
    """
    strays: list[tuple[str, str]] = []
    source = open_source(path, downloads(), unreadable=strays)
    images = read_source(source, strays)
    if not len(images.labels):
        origin, reason = images.unreadable[0]
        raise UserError(f"none of the images in {source.name} can be read: {origin} ({reason})")
    shared = list(check_groups(source, _group(path)))
    findings = [*shared, *check_images(images)]
    for line in (*summary(images), *(f"note: {remark}" for remark in source.notes)):
        print(printable(line))
    for finding in findings:
        print("\n".join(map(printable, describe(finding))))
    if not findings:
        print("nothing else was found" if source.notes else "nothing was found")
    table, picture = folder / "findings.csv", folder / "dataset.png"
    write_findings(table, findings)
    draw_dataset(images, picture)
    print(f"all of it: {table}, {picture}")
    return not any(finding.serious for finding in findings)


def _group(source: str) -> str | None:
    """`data.group` of params.yaml, where that is about the source."""
    if not PARAMS.is_file():
        return None
    params = load_params(PARAMS).data
    return params.group if Path(params.source).resolve() == Path(source).resolve() else None


def summary(images: Images) -> Iterator[str]:
    """Lines on what there is: images per split and class, and what guessing would reach."""
    counts = images.counts()
    present = [i for i, split in enumerate(counts) if split.any()]
    sizes = ", ".join(f"{counts[i].sum():,} {SPLITS[i]}" for i in present)
    yield f"{images.name}: {sizes} images of {count(len(images.classes), 'class')}"
    order = np.argsort(-counts[0], kind="stable").tolist()
    shown = order if len(order) <= LARGEST else [*order[:3], *order[-3:]]
    for place, index in enumerate(shown):
        if len(order) > LARGEST and place == 3:
            yield f"  ... {len(order) - 6:,} classes in between"
        name = images.classes[index]
        split = "  ".join(f"{counts[i, index]:>9,} {SPLITS[i]}" for i in present)
        yield f"  {name if len(name) <= 24 else name[:23] + '…':<24}{split}"
    if not images.looks.compared:
        yield f"of images smaller than {SMALLEST} pixels, only identical copies are looked for"
    last, largest = counts[present[-1]], order[0]
    yield (
        f"always answering {images.classes[largest]} is correct for "
        f"{last[largest] / last.sum():.2%} of {SPLITS[present[-1]]}"
    )


def describe(finding: Finding) -> Sequence[str]:
    """A finding in lines that fit a terminal; names of files are not broken."""
    mark = "problem: " if finding.serious else "note: "
    lines = wrap(mark + finding.sentence, WIDTH, subsequent_indent="  ", break_long_words=False)
    for example in finding.examples[:SHOWN]:
        if text := str(example):
            options = {"break_long_words": False, "break_on_hyphens": False}
            indents = {"initial_indent": "  - ", "subsequent_indent": "    "}
            lines += wrap(text, WIDTH, **indents, **options)  # type: ignore[arg-type]
    if len(finding.examples) > SHOWN:
        lines.append(f"  ... and {len(finding.examples) - SHOWN:,} more")
    return lines
