"""What the parts measure on: MNIST, copies of the repository, temporary folders."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from benchmarks.process import ROOT, fresh

SCRATCH = ROOT / ".benchmarks"
"""On the same disk as the repository: a folder in memory would flatter whatever writes."""


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary folder."""
    SCRATCH.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=SCRATCH) as folder:
        yield Path(folder)


def prepare_mnist(recipe: str, folder: Path) -> str:
    """Prepares MNIST as a recipe has it, into a new folder below another; returns its path."""
    prepared = str(folder / recipe)
    fresh("preparing.ours", recipe=recipe, folder=prepared)
    return prepared


def copy_repository(folder: Path, changes: dict[str, Any]) -> Path:
    """A new Git repository of the present files, without anything that the pipeline makes.

    Args:
        folder: where there is nothing yet.
        changes: params by dotted key.
    """
    listed = _git(ROOT, "ls-files", "-co", "--exclude-standard", "-z").rstrip("\0").split("\0")
    for name in listed:
        made = name == "dvc.lock" or name.startswith("results/")
        # a file may be listed and deleted already
        if not made and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    set_params(folder / "params.yaml", changes)
    _git(folder, "init", "--quiet")
    _git(folder, "add", "--all")
    author = ("-c", "user.name=benchmarks", "-c", "user.email=benchmarks@localhost")
    _git(folder, *author, "commit", "--quiet", "--message", "start")
    return folder


def set_params(path: Path, changes: dict[str, Any]) -> None:
    """Writes other values under dotted keys of a params.yaml."""
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump(change(tree, changes), sort_keys=False), encoding="utf-8")


def change(tree: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Sets other values under dotted keys of a tree, in place."""
    for key, value in changes.items():
        *parents, last = key.split(".")
        section = tree
        for parent in parents:
            section = section[parent]
        section[last] = value
    return tree


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout
