"""`reprovision verify`: runs the commit again, compares output by output, and tells."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reprovision.core.errors import UserError
from reprovision.core.files import md5_of_file
from reprovision.core.git import git, git_text
from reprovision.core.params import parse_lock
from reprovision.verifying.differences import describe
from reprovision.verifying.originals import Originals, cache_of, files_of, has_md5
from reprovision.verifying.rerun import run_again, temporary

DIFFERENT = 3
"""Exit status where an output differs; 1 is an error, 2 a wrong command line."""


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
    with temporary(keep) as folder:
        again = run_again(root, commit, folder)
        old = parse_lock(git("show", "HEAD:./dvc.lock"), "dvc.lock of the commit")
        new = parse_lock((again / "dvc.lock").read_bytes(), "the new dvc.lock")
        originals = Originals(root, cache_of(root), folder / "originals")
        verdicts = list(_compare(old, new, originals, again))
        _print_context(root, commit, old, new)
        _print_verdicts(verdicts)
    equal = sum(not verdict.differences for verdict in verdicts)
    print(f"{equal} of {len(verdicts)} outputs are identical, byte by byte.")
    if equal < len(verdicts):
        print("docs/reproducibility.md says what changes bytes, and what to pin.")
    return equal == len(verdicts)


def _commit_with_lock() -> str:
    if not Path("dvc.yaml").exists():
        raise UserError(f"{Path.cwd()} has no dvc.yaml: run it in the project's own folder")
    if not git_text("ls-tree", "HEAD", "./dvc.lock"):
        raise UserError("the current commit has no dvc.lock: run `dvc repro` and commit it first")
    return git_text("rev-parse", "HEAD")


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
            yield Verdict(path, tuple(_differences(path, known, files_of(project / path))))


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
        elif md5_of_file(old[name]) != md5_of_file(new[name]):
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
    changed = git_text("status", "--porcelain", "--untracked-files=no", ".").splitlines()
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
