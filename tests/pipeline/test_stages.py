"""The pipeline as it is written: dependencies, imports, outputs."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from project import ROOT, Project

STAGES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]

EXEMPT = {("train", "reprovision.tracking"), ("export", "reprovision.tracking")}
"""Code that can't change a stage's outputs: train logs its epochs to MLflow while it runs, export
leaves a note for track."""


def source_of(module: str) -> Path | None:
    """The file of one of our modules; None for names that are no module."""
    base = (ROOT / "src" if module.startswith("reprovision") else ROOT) / module.replace(".", "/")
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def imported(tree: ast.AST) -> Iterator[str]:
    """Names of modules that some code may import, wherever it does; without those for types."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, "imports are absolute here"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        yield from imported(node)


def closure(module: str, exempt: set[str]) -> set[Path]:
    """The files of a module and of all of ours that it may import, in whatever way."""
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = source_of(name)
        skipped = any(name == e or name.startswith(f"{e}.") for e in exempt)
        if (
            not path
            or name in found
            or skipped
            or name.split(".")[0] not in ("reprovision", "stages")
        ):
            continue
        found[name] = path
        # importing a module runs its packages too
        waiting += [name.rpartition(".")[0], *imported(ast.parse(path.read_text()))]
    return set(found.values())


def has_code(path: Path) -> bool:
    """Whether a file holds anything but a docstring."""
    return any(not isinstance(node, ast.Expr) for node in ast.parse(path.read_text()).body)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_all_code_that_it_imports(stage: str) -> None:
    deps = [(ROOT / dep).resolve() for dep in STAGES[stage]["deps"]]
    exempt = {module for name, module in EXEMPT if name == stage}
    missing = [
        path.relative_to(ROOT).as_posix()
        for path in closure(f"stages.{stage}", exempt)
        if has_code(path) and not any(path == dep or dep in path.parents for dep in deps)
    ]
    assert missing == []


@pytest.mark.parametrize("stage", STAGES)
def test_every_dependency_on_code_is_there(stage: str) -> None:
    code = [dep for dep in STAGES[stage]["deps"] if dep.startswith(("src/", "stages/"))]
    assert [dep for dep in code if not (ROOT / dep).exists()] == []


def test_track_runs_again_when_the_code_of_training_has_changed() -> None:
    # the run's key names that code, also where the trained bytes stay the same
    code = [Path(dep) for dep in STAGES["train"]["deps"] if not dep.startswith("data/")]
    tracked = {Path(dep) for dep in STAGES["track"]["deps"]}
    assert [dep for dep in code if not tracked & {dep, *dep.parents}] == []


def test_train_has_only_cached_outputs_so_that_dvc_can_restore_it() -> None:
    assert all(isinstance(out, str) for out in STAGES["train"]["outs"])


@pytest.mark.parametrize("stage", STAGES)
def test_a_command_holds_no_value_that_a_shell_could_expand(stage: str) -> None:
    assert STAGES[stage]["cmd"] == f"python -m stages.{stage}"


def test_metrics_plots_and_the_model_are_declared() -> None:
    tree = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    outs = [next(iter(o)) if isinstance(o, dict) else o for s in STAGES.values() for o in s["outs"]]
    assert set(tree["metrics"]) <= set(outs)
    pictures = {out for out in outs if out.endswith(".png")}
    assert pictures <= {plot for plot in tree["plots"] if isinstance(plot, str)}
    assert tree["artifacts"]["classifier"]["type"] == "model"
    # DVC draws y as rows, and its normalised template divides by them: rows are what images are
    confusion = next(plot["confusion"] for plot in tree["plots"] if "confusion" in plot)
    assert (confusion["y"], confusion["x"]) == ({"results/predictions.csv": "actual"}, "predicted")


def test_bytecode_does_not_change_what_dvc_depends_on(reproduced: Project) -> None:
    before = reproduced.run("dvc", "status").stdout
    assert "up to date" in before
    for cache in (reproduced.root / "src").rglob("__pycache__"):
        for file in cache.iterdir():
            file.write_bytes(b"other bytecode")
    (reproduced.root / "src/reprovision/core/__pycache__").mkdir(exist_ok=True)
    (reproduced.root / "src/reprovision/core/__pycache__/new.pyc").write_bytes(b"")
    assert reproduced.run("dvc", "status").stdout == before


@pytest.mark.parametrize("stage", ["prepare", "train", "evaluate", "export"])
def test_params_that_a_stage_does_not_declare_do_not_change_its_outputs(
    reproduced: Project, stage: str
) -> None:
    declared = {p.split(".")[0] for p in STAGES[stage]["params"]}
    others = {
        "seed": {"seed": 7},
        "data": {"data.split_seed": 7},
        "model": {"model.dropout": 0.5},
        "train": {"train.lr": 0.5},
        "evaluate": {"evaluate.confidence": 0.5},
        "export": {"export.tolerance": 0.5},
        "track": {"track.experiment": "other"},
    }
    before = reproduced.outputs()
    for section, change in others.items():
        if section not in declared:
            reproduced.set_params(**change)
    reproduced.run(*reproduced.stage(stage))
    assert reproduced.outputs() == before


def test_a_python_without_the_packages_is_recognised(project: Project) -> None:
    # as DVC finds it where the environment is not activated
    done = project.run(sys.executable, "-S", "-m", "stages.prepare", check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert re.search(r"lacks the package \w+: use `uv run dvc`", done.stderr)
