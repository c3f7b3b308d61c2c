"""Finished runs as DVC keeps them: the workspace, every experiment, and the present commit.

All that is needed is in Git, where DVC keeps an experiment as the reference
refs/exps/xx/yyy.../NAME (xxyyy... is the commit that it started from). Reading it there takes
milliseconds, where `dvc exp show` takes seconds.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reprovision.core.files import digest_of
from reprovision.core.git import git
from reprovision.core.params import leaves, parse_lock, parse_section, parse_yaml
from reprovision.data.summary import DatasetSummary
from reprovision.leaderboard.runs import FinishedRun, TestSet

LOCK, METRICS, DATASET = "dvc.lock", "results/test.json", "results/dataset.json"

EXPERIMENT = re.compile(r"refs/exps/[0-9a-f]{2}/[0-9a-f]{38}/(.+)")

STAGES = ("prepare", "train", "evaluate")
"""The stages that a test metric comes from; their entries in dvc.lock hold the params used."""


def finished_experiments() -> list[FinishedRun]:
    """The workspace, all experiments from the newest on, and HEAD, as far as they have results.

    Raises:
        UserError: this is no Git repository.
    """
    found = [_read("workspace", _workspace_files())]
    refs = _experiments()
    contents = _git_files([commit for commit, _ in refs] + ["HEAD"])
    for (_, name), files in zip([*refs, ("HEAD", "HEAD")], contents, strict=True):
        found.append(_read(name, files))
    return [run for run in found if run]


def _experiments() -> list[tuple[str, str]]:
    """Commit and name of each experiment, the newest first."""
    form = "--format=%(objectname) %(refname)"
    listed = git("for-each-ref", "--sort=-creatordate", form, "refs/exps").decode().splitlines()
    pairs = (line.split(" ", 1) for line in listed)
    matches = ((commit, EXPERIMENT.fullmatch(ref)) for commit, ref in pairs)
    return [(commit, match[1]) for commit, match in matches if match]


def _workspace_files() -> dict[str, bytes]:
    paths = (Path(path) for path in (LOCK, METRICS, DATASET))
    return {path.as_posix(): path.read_bytes() for path in paths if path.exists()}


def _git_files(revisions: list[str]) -> Iterator[dict[str, bytes]]:
    """The files of each revision that are there, all read by one call of Git."""
    wanted = [(revision, path) for revision in revisions for path in (LOCK, METRICS, DATASET)]
    asked = "".join(f"{revision}:./{path}\n" for revision, path in wanted)
    output = git("cat-file", "--batch", stdin=asked.encode())
    files: dict[str, dict[str, bytes]] = {revision: {} for revision in revisions}
    for revision, path in wanted:
        # "DIGEST blob SIZE", the content, a line end; or "NAME missing"
        header, _, output = output.partition(b"\n")
        if not header.endswith(b" missing"):
            size = int(header.split()[-1])
            files[revision][path], output = output[:size], output[size + 1 :]
    return (files[revision] for revision in revisions)


def _read(name: str, files: dict[str, bytes]) -> FinishedRun | None:
    """A run from its files; None where it isn't finished, or was made before they all existed."""
    if len(files) < 3:
        return None
    stages = parse_lock(files[LOCK], f"{LOCK} of {name}")
    metrics, described = (parse_yaml(files[f], f"{f} of {name}") for f in (METRICS, DATASET))
    dataset = parse_section(DatasetSummary, described, f"{DATASET} of {name}")
    if not stages.keys() >= set(STAGES) or not _fits_together(stages):
        return None
    used = (stages[stage]["params"]["params.yaml"] for stage in STAGES)
    return FinishedRun(
        name=name,
        params={key: value for tree in used for key, value in leaves("", tree)},
        metrics={key: float(value) for key, value in metrics.items() if key != "images"},
        test_set=TestSet(dataset.name, dataset.sha256["test"], dataset.images["test"]),
        code=_code(stages),
    )


def _fits_together(stages: dict[str, Any]) -> bool:
    """Whether each stage read what the one before it wrote: a run may have stopped in between."""
    made = _made(stages)
    read = [dep for stage in STAGES for dep in stages[stage]["deps"]]
    return all(made.get(dep["path"], dep["md5"]) == dep["md5"] for dep in read)


def _code(stages: dict[str, Any]) -> str:
    """Names the code of training: what its stage read that no stage wrote."""
    made = _made(stages)
    read = [dep for dep in stages["train"]["deps"] if dep["path"] not in made]
    return digest_of(*(f"{dep['path']} {dep['md5']}".encode() for dep in read))


def _made(stages: dict[str, Any]) -> dict[str, str]:
    return {out["path"]: out["md5"] for stage in STAGES for out in stages[stage]["outs"]}
