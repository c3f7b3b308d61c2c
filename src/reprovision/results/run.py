"""A finished run, wherever it comes from: the workspace, a commit, an experiment or MLflow."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from reprovision.core.errors import UserError
from reprovision.core.files import md5_of
from reprovision.core.yaml_files import leaves, parse_yaml
from reprovision.results.cache import has_content, md5_of_folder
from reprovision.results.dataset import DatasetSummary, parse_dataset
from reprovision.results.history import Epoch, parse_history
from reprovision.results.layout import (
    DATASET_SUMMARY,
    HISTORY,
    IN_GIT,
    LOCK,
    NUMERICS,
    PARAMS,
    PREDICTIONS,
    RECEIPT,
    TEST_METRICS,
)
from reprovision.results.numerics import Numerics, parse_numerics
from reprovision.results.predictions import Predictions, parse_predictions
from reprovision.results.revisions import Revision, find_revision

NEEDED = (PARAMS, LOCK, DATASET_SUMMARY, TEST_METRICS)

SEED = "seed"

IRRELEVANT = (
    SEED,
    "track.",
    "export.",
    "evaluate.batch_size",
    "evaluate.confidence",
    "evaluate.mistakes",
)
"""Prefixes of the params that can't change what a network of given params achieves: the seed stands
for chance, the others act after the test set was scored."""


@dataclass(frozen=True)
class TestSet:
    """Which images a run was tested on: runs on other images can't be compared with it."""

    name: str
    digest: str
    images: int


@dataclass(frozen=True)
class Run:
    """One trained and tested network.

    Attributes:
        name: the revision, experiment or MLflow run, as the user knows it.
        title: the same with commit and subject, where there are any.
        params: values by dotted key, as they were used.
        metrics: over the test set, by the names in results/test.json, without the count of images.
        code: equal for runs of the same training code.
        read: the content of an output by its path; None where it is missing.
        outputs: the MD5 of each by its path, as dvc.lock has it; MLflow's runs have none.
        warnings: sentences on why the results may not be those of the params.
    """

    name: str
    title: str
    params: dict[str, Any]
    metrics: dict[str, float]
    test_set: TestSet
    code: str
    read: Callable[[Path], bytes | None]
    outputs: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @cached_property
    def relevant_params(self) -> dict[str, Any]:
        """Those that can change what it achieves."""
        used = used_params(self.params)
        return {key: value for key, value in used.items() if not key.startswith(IRRELEVANT)}

    @cached_property
    def settings(self) -> Hashable:
        """Equal for runs of equal relevant params."""
        return _freeze(self.relevant_params)

    @cached_property
    def dataset(self) -> DatasetSummary:
        """What it was trained and tested on."""
        return parse_dataset(self._need(DATASET_SUMMARY), self.name)

    @cached_property
    def predictions(self) -> Predictions:
        """Its predictions over the test images; raises a UserError where they are missing."""
        where = f"{PREDICTIONS} of {self.name}"
        return parse_predictions(self._need(PREDICTIONS), self.dataset.classes, where)

    @cached_property
    def history(self) -> list[Epoch] | None:
        """Its training history; None where neither workspace nor cache has it."""
        content = self.read(HISTORY)
        return None if content is None else parse_history(content, f"{HISTORY} of {self.name}")

    @cached_property
    def numerics(self) -> Numerics | None:
        """What decided its bytes; None for results of older versions."""
        content = self.read(NUMERICS)
        return None if content is None else parse_numerics(content, self.name)

    def reordered(self, rows: Sequence[int]) -> "Run":
        """The same run with its predictions in another order."""
        run = replace(self)
        vars(run)["predictions"] = self.predictions.take(rows)
        return run

    def _need(self, path: Path) -> bytes:
        content = self.read(path)
        if content is None:
            raise _missing(self.title, path)
        return content


OWN_ONLY = ("hidden", "activation", "dropout", "init", "conv.")
"""Params of our own networks, below `model.`; those of libraries do not read them."""


def used_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """The params by dotted key without those that the model does not read."""
    name = params.get("model.name")
    unread = {"mlp": ("conv.",), "cnn": ()}.get(str(name), OWN_ONLY)
    prefixes = tuple(f"model.{key}" for key in unread) if name else ()
    return {key: value for key, value in params.items() if not key.startswith(prefixes)}


def find_run(name: str) -> Run:
    """The run of a Git revision, a DVC experiment or the workspace.

    Raises:
        UserError: there is no such revision, or a file of its results is missing or damaged.
    """
    revision = find_revision(name)
    return replace(read_run(revision), warnings=tuple(_warnings(revision)))


def read_run(revision: Revision) -> Run:
    """The run of a revision; raises a UserError where its results are missing or damaged."""
    for path in NEEDED:
        if revision.read(path) is None:
            raise _missing(revision.title, path)
    metrics = _values(revision, TEST_METRICS)
    metrics.pop("images", None)
    if not all(isinstance(value, int | float) for value in metrics.values()):
        raise UserError(f"{TEST_METRICS} of {revision.name} holds text: run `dvc repro` there")
    dataset = parse_dataset(revision.read(DATASET_SUMMARY), revision.name)
    return Run(
        name=revision.name,
        title=revision.title,
        params={**_values(revision, PARAMS), **revision.lock.params()},
        metrics=metrics,
        test_set=TestSet(dataset.name, dataset.sha256["test"], dataset.images["test"]),
        code=revision.lock.code(),
        read=revision.read,
        outputs=revision.lock.outputs(),
    )


def _warnings(revision: Revision) -> Iterator[str]:
    """Compares the files with what dvc.lock says of the last run."""
    params = _values(revision, PARAMS)
    used = revision.lock.params()
    changed = [key for key, value in used.items() if key in params and params[key] != value]
    if changed:
        yield (
            f"The results of {revision.name} were made with another {', '.join(changed[:5])} than "
            "its params.yaml has: run `dvc repro` there."
        )
    if stale := list(_changed_code(revision)):
        yield (
            f"The results of {revision.name} were made with other code than it has "
            f"({', '.join(stale[:5])}): run `dvc repro` there, and commit what it writes."
        )
    if other := list(_other_outputs(revision)):
        yield (
            f"{', '.join(other[:5])} of {revision.name} is not the file that its dvc.lock "
            "describes: run `dvc repro` there, and commit both together."
        )


def _other_outputs(revision: Revision) -> Iterator[str]:
    """Outputs that are there, and not what dvc.lock has: of a commit those in Git."""
    recorded = revision.lock.outputs()
    if revision.commit is None:
        there = [path for path in map(Path, recorded) if path.exists() and path != RECEIPT]
        yield from (str(path) for path in there if not has_content(path, recorded[path.as_posix()]))
        return
    for path in IN_GIT:
        content = revision.read(path)
        if content is not None and md5_of(content) != recorded.get(path.as_posix()):
            yield path.as_posix()


def _changed_code(revision: Revision) -> Iterator[str]:
    """Paths of code that dvc.lock has in another version than the revision."""
    used = revision.lock.test_code()
    files = revision.md5_of_code() if used else {}
    for path, md5 in used.items():
        inside = {
            name.removeprefix(f"{path}/"): of_file
            for name, of_file in files.items()
            if name.startswith(f"{path}/")
        }
        if md5 != (md5_of_folder(inside) if md5.endswith(".dir") else files.get(path)):
            yield path


def _values(revision: Revision, path: Path) -> dict[str, Any]:
    """A YAML or JSON file of a revision by dotted keys, as any version of the project has it."""
    where = f"{path} of {revision.name}"
    tree = parse_yaml(revision.read(path) or b"", where)
    if not isinstance(tree, dict):
        raise UserError(f"{where} must hold `key: value` lines: run `dvc repro` to regenerate it")
    return dict(leaves("", tree))


def _missing(title: str, path: Path) -> UserError:
    return UserError(f"{title} has no {path}: run `dvc repro` there, and commit what it writes")


def _freeze(value: Any) -> Hashable:
    """A plain value as one that can be hashed; 1 and 1.0 stay equal."""
    if isinstance(value, dict):
        return tuple((key, _freeze(value[key])) for key in sorted(value))
    return tuple(map(_freeze, value)) if isinstance(value, list | tuple) else value
