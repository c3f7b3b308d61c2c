"""The command line; see the package's docstring."""

import time
from pathlib import Path

import click

from benchmarks.parts import NAMES, find
from benchmarks.report import DOCS, write_report
from benchmarks.results import (
    FOLDER,
    Result,
    describe_machine,
    header,
    save_result,
    table,
)

QUIET = 10
"""Background CPU load in percent above which timings are not reliable."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, type=click.Choice([*NAMES, "report"]))
@click.option("--skip", multiple=True, type=click.Choice(NAMES), help="All parts but this one.")
@click.option("--toy", is_flag=True, help="A few images each: quick, and without any meaning.")
@click.option(
    "--out",
    default=FOLDER,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the results.",
)
def main(names: tuple[str, ...], skip: tuple[str, ...], toy: bool, out: Path) -> None:
    """Measure all parts and write docs/performance.md, or only what is named."""
    for name in names or (*NAMES, "report"):
        if name == "report":
            write_report(out, out if toy else DOCS)
        elif name not in skip:
            _measure(name, toy, out)


def _measure(name: str, toy: bool, out: Path) -> None:
    part = find(name)
    machine = describe_machine()
    print(f"\n{name}: {part.TITLE}\n{header(machine)}", flush=True)
    if float(machine["busy"]) > QUIET:
        print("there is background load: these times are not reliable")
    began = time.perf_counter()
    samples = part.take(toy)
    result = Result(name, machine, toy, time.perf_counter() - began, samples)
    if samples:
        save_result(result, out)
        print(f"\n{table(part.rows(samples))}\n\n{result.seconds:,.0f} s in all", flush=True)
        if toy:
            print("measured on a few images: these numbers mean nothing")


if __name__ == "__main__":
    main()
