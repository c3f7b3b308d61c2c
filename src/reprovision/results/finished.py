"""All finished runs of a clone: the workspace, every DVC experiment, and HEAD.

An experiment is a commit, which never changes. What was read of it is kept in
`.reprovision/experiments.json`, because its YAML takes 70 ms to parse (AMD EPYC, mean of 1,000).
"""

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from reprovision.core.errors import UserError
from reprovision.core.files import md5_of, write_bytes
from reprovision.core.yaml_files import LenientSection, parse_section
from reprovision.results.layout import DATASET_SUMMARY, TEST_METRICS, state_folder
from reprovision.results.revisions import (
    WORKSPACE,
    Revision,
    all_experiments,
    open_revisions,
)
from reprovision.results.run import NEEDED, Run, TestSet, read_run

VERSION = 1
"""Of what is kept: raise it where a run gets other content of the same commit."""


class KeptRun(LenientSection):
    """A run as a ranking needs it, without its name, which belongs to the experiment."""

    params: dict[str, Any]
    metrics: dict[str, float]
    test_set: TestSet
    code: str

    @classmethod
    def of(cls, run: Run) -> Self:
        """Raises a UserError for metrics that are no numbers."""
        fields = {name: getattr(run, name) for name in cls.model_fields}
        return parse_section(cls, fields, f"the results of {run.name}")

    def named(self, revision: Revision) -> Run:
        """The run of a revision; its files are read when they are needed."""
        return Run(revision.name, revision.title, read=revision.read, **dict(self))


class Kept(LenientSection):
    """Finished experiments by their commits."""

    version: int
    runs: dict[str, KeptRun]


def finished_runs() -> list[Run]:
    """The workspace, all experiments from the newest on, and HEAD, as far as they are finished.

    Where the workspace holds an experiment, that one counts: its name restores it later. One whose
    files are damaged, or not those that its dvc.lock describes, is left out with a warning.

    Raises:
        UserError: this is not a Git repository.
    """
    experiments = all_experiments()
    kept = _load()
    unread = [(e.name, e.commit) for e in experiments if e.commit not in kept]
    *opened, head = open_revisions([*unread, ("HEAD", "HEAD")], NEEDED)
    known = {e.commit: kept[e.commit] for e in experiments if e.commit in kept}
    known |= {r.commit: run for r in opened if r.commit and (run := _read(r))}
    if known.keys() != kept.keys():
        _save(known)
    found = [
        *((Revision(e.name, e.name, e.commit), known.get(e.commit)) for e in experiments),
        (head, _read(head)),
    ]
    workspace = Revision(WORKSPACE, WORKSPACE, None)
    own = _read(workspace)
    if own not in known.values():
        found.insert(0, (workspace, own))
    return [run.named(revision) for revision, run in found if run]


def _read(revision: Revision) -> KeptRun | None:
    """The run of a revision; None where it is not finished, or left out with a warning."""
    try:
        if _is_finished(revision):
            _require_described(revision, (TEST_METRICS, DATASET_SUMMARY))
            return KeptRun.of(read_run(revision))
    except UserError as error:
        print(f"warning: {revision.name} is left out: {error}", file=sys.stderr)
    return None


def _require_described(revision: Revision, paths: Sequence[Path]) -> None:
    """Raises a UserError for a file that is not the one that dvc.lock describes."""
    recorded = revision.lock.outputs()
    for path in paths:
        content = revision.read(path)
        if content is None or recorded.get(path.as_posix()) != md5_of(content):
            raise UserError(
                f"its {path} is not the file that its dvc.lock describes: run `dvc repro` there"
            )


def _is_finished(revision: Revision) -> bool:
    exists = all(revision.read(path) is not None for path in NEEDED)
    return exists and revision.lock.is_complete()


def _file() -> Path:
    return state_folder() / "experiments.json"


def _load() -> Mapping[str, KeptRun]:
    """What is kept; nothing where there is no such file, or one of another version."""
    try:
        found = Kept.model_validate_json(_file().read_bytes())
    except (FileNotFoundError, ValidationError):
        return {}
    return found.runs if found.version == VERSION else {}


def _save(runs: Mapping[str, KeptRun]) -> None:
    kept = Kept(version=VERSION, runs=dict(runs))
    # a repository that may not be written to is read anew each time
    with suppress(OSError):
        write_bytes(_file(), kept.model_dump_json().encode())
