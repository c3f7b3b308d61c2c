"""A Git revision, a DVC experiment or the workspace, and the files that each of them holds.

Most results are in Git, so that reading them needs no remote. What only DVC holds, such as the
training history, comes from its cache, as far as that has it. DVC keeps an experiment as the
reference refs/exps/xx/yyy.../NAME, where xxyyy... is the commit that it started from; reading it
there takes milliseconds, where `dvc exp show` takes seconds.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from reprovision.core.errors import UserError, printable
from reprovision.core.files import md5_of, md5_of_file
from reprovision.core.git import git, git_or_none, git_text_or_empty
from reprovision.results.cache import cached_file, files_of
from reprovision.results.layout import LOCK
from reprovision.results.lock import CODE, Lock, parse_lock

WORKSPACE = "workspace"

REFERENCE = re.compile(r"refs/exps/([0-9a-f]{2})/([0-9a-f]{38})/(.+)")


@dataclass(frozen=True)
class Revision:
    """A state of the project.

    Attributes:
        name: as the user wrote it.
        title: the same with commit and subject.
        commit: None for the workspace.
        contents: files that have been read already.
    """

    name: str
    title: str
    commit: str | None
    contents: Mapping[Path, bytes | None] = field(default_factory=dict)

    def read(self, path: Path) -> bytes | None:
        """The content of a file; None where neither Git nor DVC's cache has it."""
        if path in self.contents:
            return self.contents[path]
        if self.commit is None:
            return path.read_bytes() if path.is_file() else None
        content = git_or_none("show", f"{self.commit}:./{path.as_posix()}")
        if content is not None or path == LOCK:
            return content
        md5 = self.lock.outputs().get(path.as_posix())
        cached = cached_file(Path.cwd(), md5) if md5 else None
        return cached.read_bytes() if cached else None

    @cached_property
    def lock(self) -> Lock:
        """Its dvc.lock, without any stage where there is none.

        Raises:
            UserError: the file can't be read, e.g. because of a merge conflict.
        """
        content = self.read(LOCK)
        return Lock(stages={}) if content is None else parse_lock(content, f"{LOCK} of {self.name}")

    def md5_of_code(self) -> dict[str, str]:
        """The MD5 of each file of the code by its path, in order."""
        if self.commit is None:
            code = (file for root in CODE for file in files_of(Path(root)).values())
            return {file.as_posix(): md5_of_file(file) for file in code}
        listed = git("ls-tree", "-r", "-z", "--name-only", self.commit, "--", *CODE).decode()
        paths = [Path(name) for name in listed.split("\0") if name]
        (opened,) = open_revisions([(self.name, self.commit)], paths)
        return {path.as_posix(): md5_of(opened.contents[path] or b"") for path in paths}


@dataclass(frozen=True)
class Experiment:
    """A DVC experiment: its name, its commit, and the commit that it started from."""

    name: str
    commit: str
    baseline: str


def find_revision(name: str) -> Revision:
    """Finds a revision.

    Args:
        name: `workspace`, whatever Git understands, or the name of a DVC experiment; where Git and
            DVC know the same name, it is Git's.

    Raises:
        UserError: nothing has this name, or several experiments have it.
    """
    if name == WORKSPACE:
        return Revision(name, WORKSPACE, None)
    commit = git_text_or_empty("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    if not commit:
        commit = _find_experiment(name).commit
        return Revision(name, f"{name} (experiment {commit[:7]})", commit)
    subject = printable(git_text_or_empty("log", "-1", "--format=%h %s", commit))
    return Revision(name, subject if subject.startswith(name) else f"{name} ({subject})", commit)


def all_experiments() -> list[Experiment]:
    """All DVC experiments, the newest first; raises a UserError outside a Git repository."""
    form = "--format=%(objectname) %(refname)"
    listed = git("for-each-ref", "--sort=-creatordate", form, "refs/exps").decode().splitlines()
    pairs = (line.split(" ", 1) for line in listed)
    matches = ((commit, REFERENCE.fullmatch(reference)) for commit, reference in pairs)
    return [Experiment(m[3], commit, m[1] + m[2]) for commit, m in matches if m]


def open_revisions(named: Sequence[tuple[str, str]], paths: Sequence[Path]) -> list[Revision]:
    """Revisions whose files of some paths are all read by one call of Git.

    Args:
        named: name and commit of each.
        paths: of the files to read.
    """
    wanted = [f"{commit}:./{path.as_posix()}\n" for _, commit in named for path in paths]
    output = git("cat-file", "--batch", stdin="".join(wanted).encode())
    opened, position = [], 0
    for name, commit in named:
        contents: dict[Path, bytes | None] = {}
        for path in paths:
            # "DIGEST blob SIZE", the content, a line end; or "NAME missing"
            start = output.index(b"\n", position) + 1
            header = output[position : start - 1]
            if header.endswith(b" missing"):
                contents[path], position = None, start
            else:
                end = start + int(header.split()[-1])
                contents[path], position = output[start:end], end + 1
        opened.append(Revision(name, name, commit, contents))
    return opened


def _find_experiment(name: str) -> Experiment:
    found = [experiment for experiment in all_experiments() if experiment.name == name]
    if not found:
        raise UserError(
            f"{name} is neither a Git revision nor a DVC experiment here: {_hint(name)}"
        )
    head = git_text_or_empty("rev-parse", "HEAD")
    here = [experiment for experiment in found if experiment.baseline == head]
    if not here and len(found) > 1:
        commits = ", ".join(experiment.commit[:7] for experiment in found)
        raise UserError(
            f"{len(found)} experiments are called {name}: name one by its commit, one of {commits}"
        )
    return (here or found)[0]


def _hint(name: str) -> str:
    """How to get a revision that this clone lacks."""
    if git_text_or_empty("rev-parse", "--verify", "--quiet", f"origin/{name}"):
        return f"use origin/{name}"
    if git_text_or_empty("rev-parse", "--is-shallow-repository") == "true":
        return "this clone is shallow: `git fetch --unshallow origin` brings all commits"
    return "see `git branch --all` and `dvc exp list --all-commits`"
