"""The documentation: its links, paths and commands exist."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml
from project import ROOT

from reprovision.cli import main
from reprovision.results.metrics import METRICS

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]

FOLDERS = tuple(
    f"{name}/"
    for name in (
        *("src", "tests", "stages", "docs", "data", "benchmarks", "models", "results"),
        *(".ci", ".github", "report", ".resume", ".reprovision"),
    )
)
"""What begins with one of these is a path of this repository."""

FENCE = re.compile(r"^(```+).*?^\1", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
INLINE = re.compile(r"`([^`\n]+)`")
COMMAND = re.compile(r"(?<![\w/.-])reprovision +([a-z]+)\b([^\n`)]*)")
OPTION = re.compile(r"(?<=\s)--?[A-Za-z][a-z-]*")
PLACEHOLDER = re.compile(r"\b[A-Z]{3,}\b|\*|\.\.\.")


def prose(text: str) -> str:
    """A page without its blocks of code."""
    return FENCE.sub("", text)


def code(text: str) -> str:
    """The blocks of code of a page, without comments, and all that stands in backticks."""
    blocks = re.sub(r"(^| +)#.*", "", "\n".join(m[0] for m in FENCE.finditer(text)))
    return "\n".join([blocks, *INLINE.findall(prose(text))])


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub names them."""
    headings = re.findall(r"^#+ +(.+)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def broken_links(page: Path, text: str) -> Iterator[str]:
    for target in LINK.findall(prose(text)):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = page.parent / path if path else page
        if not file.exists():
            yield target
            continue
        if anchor:
            linked = text if file == page else file.read_text("utf-8")
            if anchor not in anchors(linked):
                yield target


def outputs() -> set[str]:
    """What the pipeline writes, and what Git ignores: paths that need not exist in a clone."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"].values()
    outs = [next(iter(o)) if isinstance(o, dict) else o for stage in stages for o in stage["outs"]]
    ignored = (ROOT / ".gitignore").read_text("utf-8").splitlines()
    return {*outs, *(line.strip("/") for line in ignored if line.startswith("/"))}


def unknown_paths(text: str) -> Iterator[str]:
    made = outputs()
    for quoted in INLINE.findall(prose(text)):
        for word in quoted.split():
            path = word.strip(",;:").rstrip("/")
            if not f"{path}/".startswith(FOLDERS) or PLACEHOLDER.search(path):
                continue
            folders = {path, *(parent.as_posix() for parent in Path(path).parents)}
            if not (ROOT / path).exists() and not folders & made:
                yield path


def wrong_commands(text: str) -> Iterator[str]:
    assert isinstance(main, click.Group)
    for name, rest in COMMAND.findall(code(text)):
        command = main.commands.get(name)
        if command is None:
            yield f"reprovision {name}"
            continue
        known = {option for param in command.params for option in param.opts} | {"--help", "-h"}
        yield from (f"reprovision {name} {o}" for o in OPTION.findall(rest) if o not in known)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_paths_and_commands_of_a_page_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    found = [*broken_links(page, text), *unknown_paths(text), *wrong_commands(text)]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "[a page](docs/nowhere.md)",
        "[a heading](docs/comparing.md#nowhere)",
        "[a heading here](#nowhere)",
        "![a picture](docs/images/nowhere.png)",
        "the module `src/reprovision/nowhere.py`",
        "run `uv run python tests/nowhere.py`",
        "see `results/nowhere.csv`",
        "```sh\nuv run reprovision nowhere\n```",
        "```sh\nuv run reprovision diff main --nowhere\n```",
        "run `reprovision recipe NAME --run -X seed=1`",
    ],
)
def test_what_does_not_exist_is_found(text: str) -> None:
    page = ROOT / "README.md"
    assert len([*broken_links(page, text), *unknown_paths(text), *wrong_commands(text)]) == 1


def test_every_metric_is_documented() -> None:
    assert isinstance(main, click.Group)
    shown = main.commands["diff"].help or "", (ROOT / "docs" / "comparing.md").read_text("utf-8")
    for text in shown:
        assert set(METRICS) <= set(re.findall(r"\w+", text))


def test_every_command_is_documented() -> None:
    assert isinstance(main, click.Group)
    shown = {name for page in PAGES for name, _ in COMMAND.findall(code(page.read_text("utf-8")))}
    assert set(main.commands) <= shown
