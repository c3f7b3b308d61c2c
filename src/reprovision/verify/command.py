"""`reprovision verify`: runs the commit again, compares every output, reports the differences."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from reprovision.core.errors import UserError
from reprovision.core.files import md5_of, md5_of_file, write_bytes
from reprovision.core.git import git, git_or_none, git_text
from reprovision.results.cache import cached_files, files_of, has_content, has_remote
from reprovision.results.layout import LOCK, PIPELINE
from reprovision.results.lock import Lock, parse_lock
from reprovision.verify.causes import find_causes
from reprovision.verify.differences import describe
from reprovision.verify.rerun import run_again, temporary_folder

DIFFERENT = 3
"""Exit status where an output differs; 1 is an error, 2 a wrong command line."""


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
    print(f"Running commit {commit[:7]} again, from scratch, in a temporary folder.", flush=True)
    with temporary_folder(keep) as folder:
        again = run_again(root, commit, folder)
        # not HEAD's, which may have moved on meanwhile
        old = parse_lock(git("show", f"{commit}:./{LOCK}"), f"{LOCK} of the commit")
        new = parse_lock((again / LOCK).read_bytes(), f"the new {LOCK}")
        before, after = old.outputs(), new.outputs()
        differences: dict[str, list[str]] = {}
        for path in {**before, **after}:
            if path not in before:
                differences[path] = [f"not in {LOCK} of the commit"]
            elif path not in after:
                differences[path] = [f"no longer an output in {PIPELINE}"]
            elif before[path] == after[path]:
                differences[path] = []
            else:
                original = _original_files(root, commit, path, before[path], folder / "originals")
                differences[path] = list(_differences(path, original, files_of(again / path)))
        _print_context(root, commit, old, new)
        _print_differences(differences)
        causes = list(find_causes(commit, again)) if any(differences.values()) else []
    identical = sum(not lines for lines in differences.values())
    print(f"{identical} of {len(differences)} outputs are identical, byte by byte.")
    if identical < len(differences):
        print(*causes, sep="\n")
        print("docs/reproducibility.md explains what changes bytes.")
    return identical == len(differences)


def _commit_with_lock() -> str:
    if not PIPELINE.exists():
        raise UserError(f"{Path.cwd()} has no {PIPELINE}: run this in the project's own folder")
    if not git_text("ls-tree", "HEAD", f"./{LOCK}"):
        raise UserError(f"the current commit has no {LOCK}: run `dvc repro` and commit it first")
    return git_text("rev-parse", "HEAD")


def _original_files(
    root: Path, commit: str, path: str, md5: str, scratch: Path
) -> dict[str, Path] | None:
    """The files of one of the commit's outputs by their paths in it.

    They come from the working tree, DVC's cache, or Git, which are copied to a scratch folder; None
    where this machine no longer has them.
    """
    if has_content(root / path, md5):
        return files_of(root / path)
    if cached := cached_files(root, md5):
        return cached
    committed = git_or_none("show", f"{commit}:./{path}")
    if committed is None or md5_of(committed) != md5:
        return None
    write_bytes(scratch / path, committed)
    return {"": scratch / path}


def _differences(path: str, old: dict[str, Path] | None, new: dict[str, Path]) -> Iterator[str]:
    if old is None:
        remedy = ": run `uv run dvc pull` to see how much" if has_remote(Path.cwd()) else ""
        yield f"the commit's own version is not on this machine{remedy}"
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
    changed = git_text("diff", "--name-only", "--relative", commit).splitlines()
    if changed:
        print(f"Changes since that commit are not part of it: {', '.join(changed)}.")
    others = [path for path, md5 in old.outputs().items() if not has_content(root / path, md5)]
    if others:
        print(f"The working tree does not hold the commit's {', '.join(others)}.")
    else:
        print("The working tree holds all of the commit's outputs.")


def _print_differences(differences: Mapping[str, Sequence[str]]) -> None:
    print()
    for path, lines in differences.items():
        print(f"{'different' if lines else 'identical'}  {path}")
        for line in lines:
            print(f"           {line}")
    print()
