"""A Git revision, a DVC experiment or the workspace, as a folder that holds its files.

What the comparison reads is in Git, so that no remote is needed; only the training history is in
DVC's cache, and may be missing there.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc.config import Config

from reprovision.core.errors import UserError
from reprovision.core.git import git_or_none, git_said
from reprovision.core.params import parse_lock

WORKSPACE = "workspace"

HISTORY = "results/history.csv"

FILES = ("params.yaml", "dvc.lock", "results/dataset.json", "results/predictions.csv")


@dataclass(frozen=True)
class Revision:
    """A state of the project.

    Attributes:
        name: as the user wrote it.
        title: the same for people, with the commit.
        folder: holds its `FILES`, and `HISTORY` where that could be had.
        lock: the stages of its dvc.lock; empty where there is none.
    """

    name: str
    title: str
    folder: Path
    lock: dict[str, Any]


def open_revision(name: str, folder: Path) -> Revision:
    """Finds a revision and puts its files into a folder; the workspace stays where it is.

    Args:
        name: `workspace`, whatever Git understands, or the name of a DVC experiment; where Git and
            DVC know the same name, it is Git's.

    Raises:
        UserError: nothing has this name, or several experiments have it.
    """
    if name == WORKSPACE:
        return Revision(name, WORKSPACE, Path(), _read_lock(Path()))
    commit = git_or_none("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    if commit:
        subject = git_said("log", "-1", "--format=%h %s", commit.decode().strip())
        title = subject if subject.startswith(name) else f"{name} ({subject})"
        found = commit.decode().strip()
    else:
        found = _experiment(name)
        title = f"{name} (experiment {found[:7]})"
    for path in FILES:
        content = git_or_none("show", f"{found}:./{path}")
        if content is not None:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
    lock = _read_lock(folder)
    _add_history(lock, folder)
    return Revision(name, title, folder, lock)


def _read_lock(folder: Path) -> dict[str, Any]:
    path = folder / "dvc.lock"
    return parse_lock(path.read_bytes(), str(path)) if path.exists() else {}


def _experiment(name: str) -> str:
    """The commit of a DVC experiment: DVC keeps it as refs/exps/xx/yyy.../NAME, where xxyyy... is
    the commit that the experiment started from.
    """
    refs = git_said("for-each-ref", "--format=%(objectname) %(refname)", f"refs/exps/*/*/{name}")
    commits = {
        "".join(ref.split("/")[2:4]): commit for commit, ref in map(str.split, refs.splitlines())
    }
    if not commits:
        raise UserError(
            f"{name} is neither a Git revision nor a DVC experiment here: "
            "see `git branch --all` and `dvc exp list --all-commits`"
        )
    head = git_said("rev-parse", "HEAD")
    if head not in commits and len(commits) > 1:
        raise UserError(
            f"{len(commits)} experiments are called {name}: name one by its commit, "
            f"one of {', '.join(commit[:7] for commit in commits.values())}"
        )
    return commits.get(head) or next(iter(commits.values()))


def _add_history(lock: dict[str, Any], folder: Path) -> None:
    """Copies the training history from DVC's cache, if it is there."""
    outs = lock.get("train", {}).get("outs", [])
    digest = next((out["md5"] for out in outs if out["path"] == HISTORY), None)
    if digest is None:
        return
    configured = Config(".dvc").get("cache", {}).get("dir")
    cache = Path(configured or ".dvc/cache") / "files" / "md5"
    cached = cache / digest[:2] / digest[2:]
    if cached.exists():
        shutil.copyfile(cached, folder / HISTORY)
