"""`reprovision verify`: runs the commit again, compares every output, reports the differences."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reprovision.core.errors import UserError
from reprovision.core.files import md5_of_file
from reprovision.core.git import git, git_or_none, git_text
from reprovision.results.cache import cached_files, files_of, has_content
from reprovision.results.layout import LOCK, PIPELINE
from reprovision.results.lock import Lock, parse_lock
from reprovision.verify.differences import describe
from reprovision.verify.rerun import run_again, temporary_folder

DIFFERENT = 3
"""Exit status where an output differs; 1 is an error, 2 a wrong command line."""


@dataclass(frozen=True)
class Outcome:
    """How one output compares.

    Attributes:
        path: of the output, from the project's folder.
        differences: in lines for people; empty where all bytes are the same.
    """

    path: str
    differences: tuple[str, ...]


def verify(keep: bool = False) -> bool:
    """Runs the current commit again and prints how each output compares; True where all are equal.

    Args:
        keep: leave the temporary folder for a closer look.

    Raises:
        UserError: this is not a project under Git and DVC, the commit has no dvc.lock, or a stage
            failed.
    """
    root = Path.cwd()
    commit = _commit_with_lock()
    print(f"Running commit {commit[:7]} again, from nothing, in a temporary folder.", flush=True)
    with temporary_folder(keep) as folder:
        again = run_again(root, commit, folder)
        old = parse_lock(git("show", f"HEAD:./{LOCK}"), f"{LOCK} of the commit")
        new = parse_lock((again / LOCK).read_bytes(), f"the new {LOCK}")
        outcomes = list(_compare(old, new, _Originals(root, folder / "originals"), again))
        _print_context(root, commit, old, new)
        _print_outcomes(outcomes)
    identical = sum(not outcome.differences for outcome in outcomes)
    print(f"{identical} of {len(outcomes)} outputs are identical, byte by byte.")
    if identical < len(outcomes):
        print("docs/reproducibility.md explains what changes bytes, and what to pin.")
    return identical == len(outcomes)


def _commit_with_lock() -> str:
    if not PIPELINE.exists():
        raise UserError(f"{Path.cwd()} has no {PIPELINE}: run this in the project's own folder")
    if not git_text("ls-tree", "HEAD", f"./{LOCK}"):
        raise UserError(f"the current commit has no {LOCK}: run `dvc repro` and commit it first")
    return git_text("rev-parse", "HEAD")


class _Originals:
    """The files of the commit's own outputs, as far as this machine still has them.

    Args:
        root: the project's folder.
        scratch: a folder for what only Git has.
    """

    def __init__(self, root: Path, scratch: Path) -> None:
        self.root = root
        self.scratch = scratch

    def files(self, path: str, md5: str) -> dict[str, Path] | None:
        """An output's files by their paths in it; None where they are gone."""
        if has_content(self.root / path, md5):
            return files_of(self.root / path)
        return cached_files(self.root, md5) or self._committed(path, md5)

    def _committed(self, path: str, md5: str) -> dict[str, Path] | None:
        content = git_or_none("show", f"HEAD:./{path}")
        if content is None:
            return None
        file = self.scratch / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return {"": file} if has_content(file, md5) else None


def _compare(old: Lock, new: Lock, originals: _Originals, project: Path) -> Iterator[Outcome]:
    before, after = old.outputs(), new.outputs()
    for path in {**before, **after}:
        if path not in before:
            yield Outcome(path, (f"not in {LOCK} of the commit",))
        elif path not in after:
            yield Outcome(path, (f"no longer an output in {PIPELINE}",))
        elif before[path] == after[path]:
            yield Outcome(path, ())
        else:
            original = originals.files(path, before[path])
            yield Outcome(path, tuple(_differences(path, original, files_of(project / path))))


def _differences(path: str, old: dict[str, Path] | None, new: dict[str, Path]) -> Iterator[str]:
    if old is None:
        yield "how much is unknown: the commit's own version is not here (try `dvc pull`)"
        return
    for name in sorted({*old, *new}):
        where = f"{name}: " if name else ""
        if name not in new or name not in old:
            yield f"{where}only in the {'commit' if name in old else 'new results'}"
        elif md5_of_file(old[name]) != md5_of_file(new[name]):
            yield from (f"{where}{line}" for line in describe(name or path, old[name], new[name]))


def _print_context(root: Path, commit: str, old: Lock, new: Lock) -> None:
    """Prints what was compared with what, and what could mislead."""
    print(f"\nCompared with {LOCK} of commit {commit[:7]}.")
    before, after = old.inputs(), new.inputs()
    stale = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    if stale:
        names = ", ".join(f"{stage} ({path})" for stage, path in stale)
        print(
            f"That {LOCK} was written for other inputs than the commit holds: {names}. "
            "Run `dvc repro` and commit its results."
        )
    changed = git_text("status", "--porcelain", "--untracked-files=no", ".").splitlines()
    if changed:
        names = ", ".join(line[2:].strip() for line in changed)
        print(f"Uncommitted changes are not part of it: {names}.")
    others = [path for path, md5 in old.outputs().items() if not has_content(root / path, md5)]
    if others:
        print(f"The working tree does not hold the commit's {', '.join(others)}.")
    else:
        print("The working tree holds all of the commit's outputs.")


def _print_outcomes(outcomes: list[Outcome]) -> None:
    print()
    for outcome in outcomes:
        print(f"{'different' if outcome.differences else 'identical'}  {outcome.path}")
        for line in outcome.differences:
            print(f"           {line}")
    print()
