"""Proof that a commit makes its results: it is run again elsewhere, from nothing, and compared.

The commit is cloned into a temporary folder with a DVC cache of its own, so that no earlier result
can stand in for a new one, and with an MLflow store of its own, so that the user's stays as it is.
Only what the results are made from is shared: downloaded archives and folders under DVC.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from reprovision.core.errors import UserError
from reprovision.differences import describe

DIFFERENT = 3
"""Exit status where an output differs; 1 is an error, 2 a wrong command line."""

FOREIGN = ("DVC_", "GIT_", "MLFLOW_")
"""Variables that would lead DVC, Git or MLflow out of the temporary folder."""


@dataclass(frozen=True)
class Verdict:
    """How one output came out.

    Attributes:
        path: of the output, from the project's folder.
        differences: in lines for people; none where all bytes are the same.
    """

    path: str
    differences: tuple[str, ...]


def verify(keep: bool = False) -> bool:
    """Runs the current commit again and prints how each output compares; True where all are equal.

    Args:
        keep: leave the temporary folder for a closer look.

    Raises:
        UserError: this is no project under Git and DVC, the commit has no dvc.lock, or a stage
            failed.
    """
    root = Path.cwd()
    commit = _commit_with_lock()
    print(f"Running commit {commit[:7]} again, from nothing, in a temporary folder.", flush=True)
    with _temporary(keep) as folder:
        again = _run_again(root, commit, folder)
        old = yaml.safe_load(_git("show", "HEAD:./dvc.lock"))["stages"]
        new = yaml.safe_load((again / "dvc.lock").read_text("utf-8"))["stages"]
        originals = Originals(root, _cache_of(root), folder / "originals")
        verdicts = list(_compare(old, new, originals, again))
        _print_context(root, commit, old, new)
        _print_verdicts(verdicts)
    equal = sum(not verdict.differences for verdict in verdicts)
    print(f"{equal} of {len(verdicts)} outputs are identical, byte by byte.")
    if equal < len(verdicts):
        print("docs/reproducibility.md says what changes bytes, and what to pin.")
    return equal == len(verdicts)


class Originals:
    """The files of the commit's outputs, as far as this machine still has them.

    Args:
        root: the project's folder.
        cache: DVC's cache.
        scratch: a folder for what only Git has.
    """

    def __init__(self, root: Path, cache: Path, scratch: Path) -> None:
        self.root = root
        self.cache = cache
        self.scratch = scratch

    def files(self, path: str, md5: str) -> dict[str, Path] | None:
        """An output's files by their paths in it; None where they are gone."""
        if has_md5(self.root / path, md5):
            return _files(self.root / path)
        if md5.endswith(".dir"):
            return self._folder(md5)
        file = self._cached(md5) or self._committed(path, md5)
        return {"": file} if file else None

    def _folder(self, md5: str) -> dict[str, Path] | None:
        listing = self._cached(md5)
        if listing is None:
            return None
        entries = json.loads(listing.read_text("utf-8"))
        found = {entry["relpath"]: self._cached(entry["md5"]) for entry in entries}
        return {name: file for name, file in found.items() if file}

    def _cached(self, md5: str) -> Path | None:
        path = self.cache / "files" / "md5" / md5[:2] / md5[2:]
        return path if path.is_file() else None

    def _committed(self, path: str, md5: str) -> Path | None:
        shown = subprocess.run(
            ["git", "show", f"HEAD:./{path}"], capture_output=True, check=False, cwd=self.root
        )
        file = self.scratch / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(shown.stdout)
        return file if has_md5(file, md5) else None


def has_md5(path: Path, md5: str) -> bool:
    """Whether a file or folder has the digest that DVC knows it by."""
    if not path.exists() or path.is_dir() != md5.endswith(".dir"):
        return False
    if path.is_file():
        return _md5(path) == md5
    listing = [{"md5": _md5(file), "relpath": name} for name, file in _files(path).items()]
    return hashlib.md5(json.dumps(listing, sort_keys=True).encode()).hexdigest() + ".dir" == md5


def _files(path: Path) -> dict[str, Path]:
    """A folder's files by their paths in it, in DVC's order; a file has an empty one."""
    if path.is_file():
        return {"": path}
    files = (file for file in path.rglob("*") if file.is_file())
    return dict(sorted((file.relative_to(path).as_posix(), file) for file in files))


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


# ---- running


def _commit_with_lock() -> str:
    if not Path("dvc.yaml").exists():
        raise UserError(f"{Path.cwd()} has no dvc.yaml: run it in the project's own folder")
    if not _git("ls-tree", "HEAD", "./dvc.lock"):
        raise UserError("the current commit has no dvc.lock: run `dvc repro` and commit it first")
    return _git("rev-parse", "HEAD")


@contextmanager
def _temporary(keep: bool) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="reprovision-verify-")).resolve()
    try:
        yield folder
    finally:
        if keep:
            print(f"The results are in {folder}.")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _run_again(root: Path, commit: str, folder: Path) -> Path:
    """Runs all stages of a commit in a clone; returns the project's folder there."""
    clone = folder / "clone"
    _git("clone", "--quiet", "--shared", "--no-checkout", _git("rev-parse", "--show-toplevel"),
         str(clone))  # fmt: skip
    _git("-C", str(clone), "checkout", "--quiet", "--detach", commit)
    project = clone / _git("rev-parse", "--show-prefix")
    environment = _environment(folder)
    _dvc(project, environment, "config", "--local", "cache.dir", str(folder / "cache"))
    _share_sources(root, project, environment)
    # what the stages say belongs to the terminal, not to the report
    _dvc(project, environment, "repro", "--force", quiet=False)
    return project


def _environment(folder: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)}
    # `python` in dvc.yaml is the one that runs now
    kept["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")])
    return kept | {
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(folder / "site"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
    }


def _share_sources(root: Path, project: Path, environment: Mapping[str, str]) -> None:
    """Lets a clone read downloads and folders under DVC where the main workspace has them."""
    downloads = root / "data" / "downloads"
    if downloads.is_dir():
        target = project / "data" / "downloads"
        # links to single files: what is missing is downloaded into the clone
        shutil.copytree(downloads.resolve(), target, copy_function=os.symlink, dirs_exist_ok=True)
    tracked = _git("-C", str(project), "ls-files", "*.dvc").splitlines()
    if tracked:
        _dvc(project, environment, "remote", "add", "--local", "verify", str(_cache_of(root)))
        _dvc(project, environment, "pull", "--quiet", "--remote", "verify", *tracked)


def _cache_of(root: Path) -> Path:
    told = subprocess.run(
        [sys.executable, "-m", "dvc", "cache", "dir"],
        capture_output=True, text=True, check=False, cwd=root,
    )  # fmt: skip
    if told.returncode:
        raise UserError(f"{root} is no DVC project ({told.stderr.strip()}): run it in one")
    return root / told.stdout.strip()


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
            "as it says above: mend that and commit it"
        )


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()
        raise UserError(
            f"git {arguments[0]} failed ({reason[-1] if reason else 'without a word'}): "
            "run this in a Git repository with a commit"
        )
    return done.stdout.strip()


# ---- comparing


def _compare(
    old: Mapping[str, Any], new: Mapping[str, Any], originals: Originals, project: Path
) -> Iterator[Verdict]:
    before, after = _outputs(old), _outputs(new)
    for path in {**before, **after}:
        if path not in before:
            yield Verdict(path, ("dvc.lock of the commit does not know it",))
        elif path not in after:
            yield Verdict(path, ("dvc.yaml no longer makes it",))
        elif before[path] == after[path]:
            yield Verdict(path, ())
        else:
            known = originals.files(path, before[path])
            yield Verdict(path, tuple(_differences(path, known, _files(project / path))))


def _outputs(stages: Mapping[str, Any]) -> dict[str, str]:
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", [])}


def _differences(path: str, old: dict[str, Path] | None, new: dict[str, Path]) -> Iterator[str]:
    if old is None:
        yield "how far, can't be told: the commit's own version is not here (`dvc pull` brings it)"
        return
    for name in sorted({*old, *new}):
        where = f"{name}: " if name else ""
        if name not in new or name not in old:
            yield f"{where}only in the {'commit' if name in old else 'new results'}"
        elif _md5(old[name]) != _md5(new[name]):
            yield from (f"{where}{line}" for line in describe(name or path, old[name], new[name]))


def _inputs(stages: Mapping[str, Any]) -> dict[tuple[str, str], Any]:
    """What each stage was made from, without what the stages before it made."""
    made = _outputs(stages)
    found: dict[tuple[str, str], Any] = {}
    for name, stage in stages.items():
        found[name, "the command"] = stage["cmd"]
        found[name, "params.yaml"] = stage.get("params")
        for dep in stage.get("deps", []):
            if dep["path"] not in made:
                found[name, dep["path"]] = dep.get("md5")
    return found


# ---- telling


def _print_context(root: Path, commit: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Says what was compared with what, and what could mislead."""
    print(f"\nCompared with dvc.lock of commit {commit[:7]}.")
    before, after = _inputs(old), _inputs(new)
    stale = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    if stale:
        names = ", ".join(f"{name} ({what})" for name, what in stale)
        print(
            f"That dvc.lock was made from other inputs than the commit holds: {names}. "
            "Run `dvc repro` and commit its results."
        )
    changed = _git("status", "--porcelain", "--untracked-files=no", ".").splitlines()
    if changed:
        print(
            f"Uncommitted changes are left out: {', '.join(line[2:].strip() for line in changed)}."
        )
    others = [path for path, md5 in _outputs(old).items() if not has_md5(root / path, md5)]
    if others:
        print(f"The working tree does not hold the commit's {', '.join(others)}.")
    else:
        print("The working tree holds all of the commit's outputs.")


def _print_verdicts(verdicts: list[Verdict]) -> None:
    print()
    for verdict in verdicts:
        print(f"{'different' if verdict.differences else 'identical'}  {verdict.path}")
        for line in verdict.differences:
            print(f"           {line}")
    print()
