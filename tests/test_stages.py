"""The pipeline as it is written: dependencies, imports, outputs."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from project import ROOT, Project

STAGES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]

EXEMPT = {("train", "reprovision.tracking")}
"""Code that can't change a stage's outputs: train tells MLflow of its epochs while it runs."""


def source_of(module: str) -> Path | None:
    """The file of one of our modules; None for names that are no module."""
    base = (ROOT / "src" if module.startswith("reprovision") else ROOT) / module.replace(".", "/")
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def imported(tree: ast.AST) -> Iterator[str]:
    """Names of modules that some code may import, wherever it does; what only types need is out."""
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
    # the run's key names that code, even where the trained bytes stay the same
    code = {dep for dep in STAGES["train"]["deps"] if not dep.startswith("data/")}
    assert code <= set(STAGES["track"]["deps"])


def test_imports_only_point_down() -> None:
    floors = [
        ("core",),
        ("data",),
        ("sources",),
        ("models",),
        ("training", "evaluation", "exporting"),
        ("tracking", "report", "cli"),
    ]
    floor_of = {name: number for number, names in enumerate(floors) for name in names}
    wrong = []
    for path in sorted((ROOT / "src" / "reprovision").rglob("*.py")):
        own = floor_of.get(path.relative_to(ROOT / "src" / "reprovision").parts[0])
        for name in imported(ast.parse(path.read_text())):
            parts = name.split(".")
            other = floor_of.get(parts[1]) if parts[0] == "reprovision" and parts[1:] else None
            if own is not None and other is not None and other > own:
                wrong.append(f"{path.name} imports {name}")
    assert wrong == []


def test_only_the_top_floor_knows_mlflow_and_dvc() -> None:
    for path in (ROOT / "src" / "reprovision").rglob("*.py"):
        folder = path.relative_to(ROOT / "src" / "reprovision").parts[0]
        if folder in ("core", "data", "sources", "models", "training", "evaluation", "exporting"):
            names = {name.split(".")[0] for name in imported(ast.parse(path.read_text()))}
            assert not names & {"mlflow", "dvc"}, path


def test_train_has_only_cached_outputs_so_that_dvc_can_restore_it() -> None:
    assert all(isinstance(out, str) for out in STAGES["train"]["outs"])


def test_stages_are_thin() -> None:
    for path in (ROOT / "stages").glob("*.py"):
        assert len(path.read_text().splitlines()) <= 60, path


@pytest.mark.parametrize("stage", STAGES)
def test_a_command_shows_what_goes_in_and_what_comes_out(stage: str) -> None:
    command = STAGES[stage]["cmd"].split()
    assert command[:3] == ["python", "-m", f"stages.{stage}"]
    outs = [next(iter(out)) if isinstance(out, dict) else out for out in STAGES[stage]["outs"]]
    for out in outs:
        assert any(out == word or out.startswith(f"{word}/") for word in command[3:]), out


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


def imports_of(project: Project, stage: str) -> set[str]:
    """The modules that a stage imports when it runs."""
    python, *arguments = project.stage(stage)
    said = project.run(python, "-X", "importtime", *arguments).stderr
    return set(re.findall(r"^import time:.*\| +([\w.]+)$", said, re.MULTILINE))


BUDGETS = {
    "prepare": {
        "sklearn",
        "torch",
        "torchvision",
        "mlflow",
        "matplotlib",
        "onnx",
        "onnxruntime",
        "dvc",
    },
    "train": {
        "torch._dynamo",
        "torchvision",
        "mlflow",
        "matplotlib",
        "onnxruntime",
        "sklearn",
        "scipy",
        "dvc",
    },
    "evaluate": {
        "scipy.stats",
        "torch._dynamo",
        "torchvision",
        "mlflow",
        "onnxruntime",
        "sklearn",
        "dvc",
    },
    "export": {
        "scipy.stats",
        "torch._dynamo",
        "torchvision",
        "mlflow",
        "matplotlib",
        "sklearn",
        "dvc",
    },
    "track": {"torch", "torchvision", "matplotlib", "sklearn", "dvc"},
}


def test_a_stage_imports_only_what_it_needs(reproduced: Project) -> None:
    for stage, forbidden in BUDGETS.items():
        imports = imports_of(reproduced, stage)
        assert "reprovision" in imports, "the list of imports is read"
        assert not imports & forbidden, stage


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
