"""A finished run as the leaderboard sees it, whether DVC or MLflow remembers it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from reprovision.core.errors import UserError

SEED = "seed"

IRRELEVANT = (
    SEED,
    "track.",
    "export.",
    "evaluate.batch_size",
    "evaluate.confidence",
    "evaluate.mistakes",
)
"""Beginnings of the params that can't change what a network of given params achieves: the seed
stands for chance, the others act after the test set was scored."""

SMALLER_IS_BETTER = ("loss", "calibration_error")


@dataclass(frozen=True)
class TestSet:
    """Which images a run was tested on: runs on other images can't be compared with it."""

    name: str
    digest: str
    images: int


@dataclass(frozen=True)
class FinishedRun:
    """One trained and tested network.

    Attributes:
        name: of its DVC experiment or MLflow run.
        params: values by dotted key.
        metrics: over the test set, as results/test.json names them.
        code: equal for runs of the same training code.
    """

    name: str
    params: dict[str, Any]
    metrics: dict[str, float]
    test_set: TestSet
    code: str

    def relevant_params(self) -> dict[str, Any]:
        """The params that can change what it achieves."""
        # an mlp has no convolutions
        unused = ("model.conv.",) if self.params.get("model.name") == "mlp" else ()
        ignored = (*IRRELEVANT, *unused)
        return {k: v for k, v in self.params.items() if not k.startswith(ignored)}

    def identity(self) -> tuple[Any, ...]:
        """Equal for runs that repeat each other: the same data, params, code and seed."""
        seed = self.params.get(SEED)
        return (self.test_set, self.code, seed, freeze(self.relevant_params()))


def freeze(value: Any) -> Any:
    """A plain value as one that can be hashed; 1 and 1.0 stay equal."""
    if isinstance(value, dict):
        return tuple((key, freeze(value[key])) for key in sorted(value))
    return tuple(map(freeze, value)) if isinstance(value, list | tuple) else value


def without_repeats(runs: Iterable[FinishedRun]) -> tuple[list[FinishedRun], int]:
    """The first of those that repeat each other: two runs of one seed are one draw, not two.

    Returns:
        the runs, and how many were left out although their figures differ.
    """
    kept: dict[tuple[Any, ...], FinishedRun] = {}
    differing = 0
    for run in runs:
        first = kept.setdefault(run.identity(), run)
        differing += first.metrics != run.metrics
    return list(kept.values()), differing


def check_metric(runs: Iterable[FinishedRun], metric: str) -> None:
    """Raises a UserError that lists the metrics where a run lacks the wanted one."""
    for run in runs:
        if metric not in run.metrics:
            raise UserError(
                f"{run.name} has no metric {metric}: choose one of {', '.join(run.metrics)}"
            )
