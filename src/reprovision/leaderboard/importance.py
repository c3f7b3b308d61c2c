"""Which of the params that a sweep varied made the difference, as far as its runs can tell."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reprovision.leaderboard.ranking import Board
from reprovision.leaderboard.runs import FinishedRun

FEWEST_RUNS, FEWEST_PARAMS = 10, 2
"""With less, a forest finds patterns in noise, or there is nothing to compare."""

TREES, SHUFFLES = 200, 20


@dataclass(frozen=True)
class Importance:
    """How much a random forest that predicts the metric relies on each param.

    Attributes:
        losses: by param, the largest first: how much of the explained variance (R squared) is lost
            when the param's values are shuffled among the runs (permutation importance,
            doi:10.1023/A:1010933404324).
        explained: R squared of the metric, each run predicted by trees that did not see it; near 0
            or below, the params did not make the difference, or there are too few runs.
        runs: how many.
    """

    losses: dict[str, float]
    explained: float
    runs: int


def measure_importance(board: Board, metric: str) -> Importance | None:
    """The importance of the params that vary; None for too few runs or params."""
    varying = [key for key in board.varying if key in board.runs[0].params]
    if len(board.runs) < FEWEST_RUNS or len(varying) < FEWEST_PARAMS:
        return None
    # a second to import, for those who have enough runs
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance

    inputs = np.column_stack([_encode(board.runs, key) for key in varying])
    target = np.array([run.metrics[metric] for run in board.runs])
    forest = RandomForestRegressor(TREES, oob_score=True, random_state=0).fit(inputs, target)
    found = permutation_importance(forest, inputs, target, n_repeats=SHUFFLES, random_state=0)
    losses = dict(zip(varying, found.importances_mean.tolist(), strict=True))
    ordered = sorted(losses, key=lambda key: -losses[key])
    return Importance({k: losses[k] for k in ordered}, float(forest.oob_score_), len(board.runs))


def _encode(runs: Sequence[FinishedRun], key: str) -> np.ndarray:
    """A param as numbers, float64 (runs,); only their order matters to a forest."""
    values: list[Any] = [run.params.get(key) for run in runs]
    if all(isinstance(value, int | float) for value in values):
        return np.array(values, np.float64)
    names = sorted({str(value) for value in values})
    return np.array([names.index(str(value)) for value in values], np.float64)
