"""From runs to a ranking: groups of equal params, their means over seeds, and tests of differences.

The spread of a group over its seeds is the effect of chance in training, on one and the same test
set. Whether one group is better than another is a question about that spread: Welch's t test, which
allows each group its own. Whether one network is better than another on these images is another
question, which `reprovision diff` answers.
"""

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats

from reprovision.comparison.same_images import by_test_images
from reprovision.core.errors import UserError
from reprovision.results.metrics import METRICS
from reprovision.results.run import Run, TestSet, used_params
from reprovision.results.statistics import adjust

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


class Standing(enum.Enum):
    """How a group compares with the best."""

    BEST = "best"
    WORSE = "worse"
    UNCLEAR = "no evidence"
    TOO_FEW = "needs more seeds"


@dataclass(frozen=True)
class Summary:
    """A metric over the runs of a group.

    Attributes:
        mean, sd: over the runs; sd is that of a sample, None for a single run.
        margin: half the width of the t interval of the mean; None for a single run.
    """

    mean: float
    sd: float | None
    margin: float | None


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed only.

    Attributes:
        runs: the best first.
        params: values of those params that differ among the groups, as far as it has them.
        summary: of the metric ranked by.
        loss: the same of the loss.
    """

    runs: tuple[Run, ...]
    params: dict[str, Any]
    summary: Summary
    loss: Summary


@dataclass(frozen=True)
class Place:
    """A group in the ranking.

    Attributes:
        p: of Welch's test against the best, adjusted for the number of groups; None where the test
            is impossible.
    """

    group: Group
    standing: Standing
    p: float | None


@dataclass(frozen=True)
class Board:
    """The ranking of all groups that were tested on the same images, the best mean first.

    Attributes:
        test_sets: one, or several where the same images were prepared in several ways.
        runs: all of them, without repeats.
        varying: dotted keys of the params that differ among the groups.
        common: params that are the same in all groups, and another in a board of the same data.
        repeats: number of runs left out because a newer one, with other metrics, repeats them.
    """

    test_sets: tuple[TestSet, ...]
    runs: tuple[Run, ...]
    varying: tuple[str, ...]
    common: dict[str, Any]
    places: tuple[Place, ...]
    repeats: int

    @property
    def name(self) -> str:
        """Of the data."""
        return self.test_sets[0].name


def rank(runs: Sequence[Run], metric: str, confidence: float = 0.95) -> list[Board]:
    """A ranking for each set of test images, the one with the most runs first.

    Args:
        runs: the newest first: of those with equal params, code and seed the first counts.
        metric: one that all runs have.
        confidence: of the intervals; 1 minus it is the level of the tests.
    """
    boards = [_board(found, metric, confidence) for found in by_test_images(runs)]
    differing: dict[str, tuple[str, ...]] = {}
    for name in {board.name for board in boards}:
        of_name = [run for board in boards if board.name == name for run in board.runs]
        differing[name] = _varying(of_name)
    boards = [replace(board, common=_common(board, differing[board.name])) for board in boards]
    return sorted(boards, key=lambda board: -len(board.runs))


def runs_with(metric: str, runs: Sequence[Run]) -> list[Run]:
    """The runs that have a metric: those of older versions may lack it.

    Raises:
        UserError: there are no runs, or none has the metric.
    """
    if not runs:
        raise UserError(
            "there are no finished runs yet: start some, e.g. with "
            "`uv run dvc exp run --queue -S seed=0,1,2`, then `uv run dvc queue start`"
        )
    found = [run for run in runs if {metric, "loss"} <= run.metrics.keys()]
    if not found or metric not in METRICS:
        known = [name for name in METRICS if any(name in run.metrics for run in runs)]
        raise UserError(f"no run has the metric {metric}: choose one of {', '.join(known)}")
    return found


def relevant_params(run: Run) -> dict[str, Any]:
    """The params of a run that can change what it achieves."""
    return {k: v for k, v in used_params(run.params).items() if not k.startswith(IRRELEVANT)}


def without_repeats(runs: Iterable[Run]) -> tuple[list[Run], int]:
    """The first of the runs that repeat each other: two runs of one seed are one draw, not two.

    Returns:
        the runs, and how many were left out although their metrics differ.
    """
    kept: dict[Any, Run] = {}
    differing = 0
    for run in runs:
        key = (run.test_set, run.code, run.params.get(SEED), _freeze(relevant_params(run)))
        first = kept.setdefault(key, run)
        differing += first.metrics != run.metrics
    return list(kept.values()), differing


def summarize(values: Sequence[float], confidence: float) -> Summary:
    """Mean, standard deviation and Student's t interval of a sample."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return Summary(mean, None, None)
    quantile = stats.t.ppf((1 + confidence) / 2, len(values) - 1)
    return Summary(mean, float(np.std(values, ddof=1)), float(quantile * stats.sem(values)))


def welch(first: Sequence[float], second: Sequence[float]) -> float | None:
    """p of Welch's t test (doi:10.1093/biomet/34.1-2.28); None without any spread to judge by."""
    if min(len(first), len(second)) < 2 or len(set(first)) == len(set(second)) == 1:
        return None
    return float(stats.ttest_ind(first, second, equal_var=False).pvalue)


def _board(all_runs: Sequence[Run], metric: str, confidence: float) -> Board:
    runs, repeats = without_repeats(all_runs)
    varying = _varying(runs)
    sign = -1 if METRICS[metric].lower_is_better else 1
    members: dict[Any, list[Run]] = {}
    for run in runs:
        key = (run.code, _freeze(relevant_params(run)))
        members.setdefault(key, []).append(run)
    several_codes = len({run.code for run in runs}) > 1
    groups = []
    for found in members.values():
        ordered = tuple(sorted(found, key=lambda run: -sign * run.metrics[metric]))
        params = _chosen(found[0], varying)
        if several_codes:
            params["code"] = found[0].code[:7]
        summaries = (summarize([r.metrics[m] for r in found], confidence) for m in (metric, "loss"))
        groups.append(Group(ordered, params, *summaries))
    groups.sort(key=lambda group: -sign * group.summary.mean)
    places = _places(groups, metric, 1 - confidence)
    shown = (*varying, "code") if several_codes else varying
    test_sets = tuple(dict.fromkeys(run.test_set for run in runs))
    return Board(test_sets, tuple(runs), shown, {}, places, repeats)


def _common(board: Board, differing: Sequence[str]) -> dict[str, Any]:
    """The params that tell a board from the others of the same data."""
    return _chosen(board.runs[0], [key for key in differing if key not in board.varying])


def _chosen(run: Run, keys: Sequence[str]) -> dict[str, Any]:
    """The values of some params, without those that the run lacks or its model does not read."""
    params = relevant_params(run)
    return {key: params[key] for key in keys if key in params}


def _varying(runs: Sequence[Run]) -> tuple[str, ...]:
    """The relevant params with more than one value, in the order of params.yaml."""
    trees = [relevant_params(run) for run in runs]
    keys = dict.fromkeys(key for tree in trees for key in tree)
    return tuple(key for key in keys if len({_freeze(tree.get(key)) for tree in trees}) > 1)


def _places(groups: Sequence[Group], metric: str, alpha: float) -> tuple[Place, ...]:
    """Tests every group against the best of those that have several runs."""
    best = next((i for i, group in enumerate(groups) if len(group.runs) > 1), 0)
    values = [[run.metrics[metric] for run in group.runs] for group in groups]
    tested = {i: welch(values[best], sample) for i, sample in enumerate(values) if i != best}
    known = {i: p for i, p in tested.items() if p is not None}
    adjusted = dict(zip(known, adjust(list(known.values())), strict=True))
    places = []
    for i, group in enumerate(groups):
        p = adjusted.get(i)
        if i == best and len(group.runs) > 1:
            standing = Standing.BEST
        elif p is None:
            standing = Standing.TOO_FEW
        else:
            standing = Standing.WORSE if p < alpha else Standing.UNCLEAR
        places.append(Place(group, standing, p))
    return tuple(places)


def _freeze(value: Any) -> Any:
    """A plain value as one that can be hashed; 1 and 1.0 stay equal."""
    if isinstance(value, dict):
        return tuple((key, _freeze(value[key])) for key in sorted(value))
    return tuple(map(_freeze, value)) if isinstance(value, list | tuple) else value
