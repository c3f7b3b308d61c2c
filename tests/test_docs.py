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
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]

TRANSLATED = sorted(page for page in PAGES if page.name.endswith(".zh-CN.md"))

ELSEWHERE = {"README.zh-CN.md": ("使用国内的 PyPI 镜像", "docs/mirrors.md")}
"""Sections of a translation that translate a page of their own."""

FOLDERS = tuple(
    f"{name}/"
    for name in (
        *("src", "tests", "stages", "docs", "data", "benchmarks", "models", "results"),
        *(".ci", ".github", "report", ".resume", ".reprovision"),
    )
)
"""What begins with one of these is a path of this repository."""

TO_READ = ("sources", "images", "data", "models", "training")
"""The packages that a newcomer to the code is to read."""

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


def original(page: Path) -> Path:
    """The English page of a translation."""
    return page.with_name(page.name.replace(".zh-CN", ""))


def section(text: str, heading: str) -> str:
    """A section of the second level, from its heading to the next one."""
    found = re.search(rf"^## {heading}$.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"no section {heading!r}"
    return found[0]


def translations() -> Iterator[tuple[str, str, str]]:
    """What is said in both languages: a name, the English text, the Chinese text."""
    for page in TRANSLATED:
        english, chinese = original(page).read_text("utf-8"), page.read_text("utf-8")
        if page.name in ELSEWHERE:
            heading, source = ELSEWHERE[page.name]
            own = section(chinese, heading)
            chinese = chinese.replace(own, "")
            yield source, (ROOT / source).read_text("utf-8"), own
        yield page.name, english, chinese


def commands(text: str) -> list[str]:
    """The lines of a page's blocks of code, without comments, which are translated."""
    blocks = "\n".join(m[0] for m in FENCE.finditer(text))
    lines = (re.sub(r"(^|\s+)#.*", "", line).strip() for line in blocks.splitlines())
    return [line for line in lines if line]


def table_numbers(text: str) -> list[list[str]]:
    """The numbers in each row of a page's tables."""
    return [re.findall(r"\d+(?:[.,]\d+)*", row) for row in re.findall(r"^\|.*", text, re.MULTILINE)]


def levels(text: str) -> list[int]:
    """How far each heading of a page lies below its first one."""
    depths = [len(mark) for mark in re.findall(r"^#+(?= )", prose(text), re.MULTILINE)]
    return [depth - depths[0] for depth in depths]


def drifted(english: str, chinese: str) -> Iterator[str]:
    """What a translation has not of its original, or has otherwise."""
    if commands(english) != commands(chinese):
        yield "commands"
    if table_numbers(english) != table_numbers(chinese):
        yield "tables"
    if levels(english) != levels(chinese):
        yield "headings"
    linked = {target for target in LINK.findall(prose(english)) if ".zh-CN" not in target}
    targets = {target.replace(".zh-CN", "") for target in LINK.findall(prose(chinese))}
    yield from (f"link {target}" for target in sorted(linked - targets))
    quoted = set(INLINE.findall(prose(english))) - set(INLINE.findall(prose(chinese)))
    yield from (f"`{word}`" for word in sorted(quoted))


@pytest.mark.parametrize(
    ("english", "chinese"),
    [pair[1:] for pair in translations()],
    ids=[p[0] for p in translations()],
)
def test_a_translation_says_what_its_original_does(english: str, chinese: str) -> None:
    assert [*drifted(english, chinese)] == []


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda page: page.name)
def test_both_languages_link_to_each_other_at_their_top(page: Path) -> None:
    for this, other in ((page, original(page)), (original(page), page)):
        assert f"]({other.name})" in "\n".join(this.read_text("utf-8").splitlines()[:6])


@pytest.mark.parametrize(
    ("chinese", "missing"),
    [
        ("# 甲\n## 甲\n`a` [乙](b.md)\n\n| 1 |\n\n```sh\nuv run x  # 丙\n```\n", []),
        ("# 甲\n### 甲\n`a` [乙](b.md)\n\n| 1 |\n\n```sh\nuv run x\n```\n", ["headings"]),
        ("# 甲\n## 甲\n`a` [乙](b.md)\n\n| 1 |\n\n```sh\nuv run y\n```\n", ["commands"]),
        ("# 甲\n## 甲\n`a` [乙](b.md)\n\n| 2 |\n\n```sh\nuv run x\n```\n", ["tables"]),
        ("# 甲\n## 甲\n`a` [乙](c.md)\n\n| 1 |\n\n```sh\nuv run x\n```\n", ["link b.md"]),
        ("# 甲\n## 甲\n[乙](b.md)\n\n| 1 |\n\n```sh\nuv run x\n```\n", ["`a`"]),
    ],
)
def test_a_translation_that_has_drifted_is_found(chinese: str, missing: list[str]) -> None:
    english = "# A\n## A\n`a` [B](b.md)\n\n| 1 |\n\n```sh\nuv run x  # C\n```\n"
    assert [*drifted(english, chinese)] == missing


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


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_the_code_is_as_long_as_the_page_says(page: str) -> None:
    text = (ROOT / page).read_text()
    (found,) = re.findall(r"[\d,]+(?= ?(?:\nlines:|行：))", text)
    folders = ["stages", *(f"src/reprovision/{name}" for name in TO_READ)]
    files = (file for folder in folders for file in (ROOT / folder).glob("*.py"))
    lines = sum(len(file.read_text().splitlines()) for file in files)
    assert int(found.replace(",", "")) == pytest.approx(lines, rel=0.05)
