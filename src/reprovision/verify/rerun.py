"""Runs all stages of a commit in a clone, without any earlier result."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import URL

from reprovision.core.errors import UserError
from reprovision.core.git import git_text
from reprovision.results.cache import cache_folder

FOREIGN = ("DVC_", "GIT_", "MLFLOW_")
"""Variables that would lead DVC, Git or MLflow out of the temporary folder."""


@contextmanager
def temporary_folder(keep: bool) -> Iterator[Path]:
    """A folder that is deleted afterwards, or kept and printed."""
    folder = Path(tempfile.mkdtemp(prefix="reprovision-verify-")).resolve()
    try:
        yield folder
    finally:
        if keep:
            print(f"The results are in {folder}.")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def run_again(root: Path, commit: str, folder: Path) -> Path:
    """Runs all stages of a commit in a clone; returns the project's folder there."""
    clone = folder / "clone"
    top = git_text("rev-parse", "--show-toplevel")
    git_text("clone", "--quiet", "--shared", "--no-checkout", top, str(clone), folder=folder)
    git_text("checkout", "--quiet", "--detach", commit, folder=clone)
    project = clone / git_text("rev-parse", "--show-prefix")
    environment = _environment(folder)
    _dvc(project, environment, "config", "--local", "cache.dir", str(folder / "cache"))
    _share_sources(root, project, environment)
    # the stages print to stderr, the report to stdout
    _dvc(project, environment, "repro", "--force", quiet=False)
    return project


def _environment(folder: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)}
    # `python` in dvc.yaml is the one that runs now
    kept["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")])
    return kept | {
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(folder / "site"),
        "MLFLOW_TRACKING_URI": str(URL.create("sqlite", database=str(folder / "mlflow.db"))),
    }


def _share_sources(root: Path, project: Path, environment: Mapping[str, str]) -> None:
    """Lets a clone read downloads and folders under DVC where the main workspace has them."""
    downloads = root / "data" / "downloads"
    if downloads.is_dir():
        target = project / "data" / "downloads"
        # links to single files: what is missing is downloaded into the clone
        shutil.copytree(downloads.resolve(), target, copy_function=os.symlink, dirs_exist_ok=True)
    # only -z prints names that are not ASCII unquoted
    tracked = git_text("ls-files", "-z", "*.dvc", folder=project).rstrip("\0").split("\0")
    if tracked != [""]:
        _dvc(project, environment, "remote", "add", "--local", "verify", str(cache_folder(root)))
        _dvc(project, environment, "pull", "--quiet", "--remote", "verify", *tracked)


def _dvc(
    project: Path, environment: Mapping[str, str], *arguments: str, quiet: bool = True
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=project,
        env=dict(environment),
        stdout=subprocess.DEVNULL if quiet else sys.stderr,
        check=False,
    )
    if done.returncode:
        raise UserError(
            f"`dvc {' '.join(arguments)}` failed in a clone of the current commit, "
            "for the reason above: fix that and commit it"
        )
