"""The layers of the package: imports only point down, and every package has its floor."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from project import ROOT

PACKAGE = ROOT / "src" / "reprovision"

FLOORS = (
    ("core",),
    ("images",),
    ("data",),
    ("sources", "models", "results", "serving"),
    ("checks", "training", "evaluation", "exporting", "comparison", "service"),
    ("tracking", "verify"),
    ("recipes", "cli"),
)
"""From the ground up. What stands on one floor does not import each other."""

ONLY_IN = {"mlflow": {"tracking"}, "torchvision": {"sources", "models"}}
"""Libraries that few packages import."""

WITHOUT_TORCH = (
    *(
        "core",
        "images",
        "sources",
        "results",
        "serving",
        "service",
        "checks",
        "comparison",
        "tracking",
        "verify",
    ),
)


def imported(code: str) -> Iterator[str]:
    """Full names of the modules that some code imports, wherever it does."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, "imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def sources() -> dict[str, str]:
    """The code of every module by its path below the package."""
    files = sorted(PACKAGE.rglob("*.py"))
    return {file.relative_to(PACKAGE).as_posix(): file.read_text() for file in files}


def violations(modules: Mapping[str, str]) -> list[str]:
    """Imports that do not point down, and packages that no floor names."""
    floor_of = {name: number for number, names in enumerate(FLOORS) for name in names}
    found = []
    for path, code in modules.items():
        own = path.removesuffix(".py").split("/")[0]
        if own == "__init__":
            continue
        if own not in floor_of:
            found.append(f"{own} stands on no floor")
            continue
        for name in imported(code):
            parts = name.split(".")
            if parts[0] != "reprovision" or parts[1] == own:
                continue
            if parts[1] not in floor_of:
                found.append(f"{path} imports {parts[1]}, which stands on no floor")
            elif floor_of[parts[1]] >= floor_of[own] and own != "cli":
                found.append(f"{path} imports {name}")
    return found


def test_imports_only_point_down() -> None:
    assert violations(sources()) == []


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("core/new.py", "from reprovision.comparison.ranking import rank"),
        ("data/new.py", "import reprovision.verify.rerun"),
        ("evaluation/new.py", "from reprovision.training import loop"),
        ("training/new.py", "def f():\n    from reprovision.tracking.store import open_store"),
        ("models/new.py", "from reprovision.sources import open_source"),
        ("results/new.py", "from reprovision.unknown import anything"),
        ("unknown/new.py", "import json"),
    ],
)
def test_a_forbidden_import_is_found(path: str, code: str) -> None:
    assert len(violations({path: code})) == 1


def test_every_package_has_a_floor_and_every_floor_its_packages() -> None:
    there = {path.split("/")[0].removesuffix(".py") for path in sources()} - {"__init__"}
    assert there == {name for names in FLOORS for name in names}


@pytest.mark.parametrize(("library", "packages"), ONLY_IN.items())
def test_a_library_stays_in_its_packages(library: str, packages: set[str]) -> None:
    users = {
        path.split("/")[0]
        for path, code in sources().items()
        if any(name.split(".")[0] == library for name in imported(code))
    }
    assert users == packages


def test_packages_without_torch_do_not_import_it() -> None:
    users = [
        path
        for path, code in sources().items()
        if path.split("/")[0] in WITHOUT_TORCH
        and any(name.split(".")[0] == "torch" for name in imported(code))
    ]
    assert users == []


def test_stages_are_the_only_code_beside_the_package_that_it_runs_with() -> None:
    names = {name.split(".")[0] for code in sources().values() for name in imported(code)}
    assert not names & {"stages", "tests", "benchmarks"}


def test_results_know_every_output_of_the_pipeline() -> None:
    import yaml

    from reprovision.results import layout

    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].values()
    outs = {next(iter(o)) if isinstance(o, dict) else o for stage in stages for o in stage["outs"]}
    known = {path.as_posix() for path in vars(layout).values() if isinstance(path, Path)}
    assert outs <= known


def test_the_layout_knows_which_outputs_git_keeps() -> None:
    import yaml

    from reprovision.results import layout

    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].values()
    kept = {name for s in stages for o in s["outs"] if isinstance(o, dict) for name in o}
    assert kept == {path.as_posix() for path in (*layout.IN_GIT, layout.RECEIPT)}


def test_only_the_layout_names_outputs() -> None:
    literals = [
        f"{path}: {node.value}"
        for path, code in sources().items()
        if path != "results/layout.py"
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value in {"data/prepared", "models/exported", "results", "results/plots"}
    ]
    assert literals == []
