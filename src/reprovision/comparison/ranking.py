"""From runs to a ranking: groups of equal params, their means over seeds, and tests of differences.

The spread of a group over its seeds is the effect of chance in training, on one and the same test
set. Whether one group is better than another is a question about that spread: Welch's t test, which
allows each group its own. Whether one network is better than another on these images is another
question, which `reprovision diff` answers.
"""

import enum
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from scipy import stats

from reprovision.comparison.same_images import by_test_images
from reprovision.core.errors import UserError
from reprovision.results.metrics import METRICS
from reprovision.results.run import SEED, Run, TestSet
from reprovision.results.statistics import adjust


class Standing(enum.Enum):
    """How a group compares with the best."""

    BEST = "best"
    WORSE = "worse"
    UNCLEAR = "no evidence"
    TOO_FEW = "needs more seeds"
    NO_SPREAD = "no spread"


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
            is impossible: with a single run, or where no seed changes a result.
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


def without_repeats(runs: Iterable[Run]) -> tuple[list[Run], int]:
    """The first of the runs that repeat each other: two runs of one seed are one draw, not two.

    Returns:
        the runs, and how many were left out although their metrics differ.
    """
    kept: dict[Hashable, Run] = {}
    differing = 0
    for run in runs:
        key = (run.test_set, run.code, run.params.get(SEED), run.settings)
        first = kept.setdefault(key, run)
        differing += first.metrics != run.metrics
    return list(kept.values()), differing


def summarize(values: Sequence[float], confidence: float) -> Summary:
    """Mean, standard deviation and Student's t interval of a sample."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return Summary(mean, None, None)
    sd = _sd(values)
    margin = _quantile(confidence, len(values) - 1) * sd / len(values) ** 0.5
    return Summary(mean, sd, margin)


@cache
def _quantile(confidence: float, freedom: int) -> float:
    """Of Student's t distribution, on both sides of an interval."""
    return float(stats.t.ppf((1 + confidence) / 2, freedom))


def welch(first: Sequence[float], others: Sequence[Sequence[float]]) -> list[float | None]:
    """p of Welch's t test (doi:10.1093/biomet/34.1-2.28) of one sample against each of others.

    None without any spread to judge by.
    """
    p: list[float | None] = [None] * len(others)
    several = [i for i, other in enumerate(others) if min(len(first), len(other)) > 1]
    tested = [i for i in several if len(set(first)) > 1 or len(set(others[i])) > 1]
    if tested:
        # all in one call: thousands of calls would take seconds
        samples = [others[i] for i in tested]
        moments = (np.array([f(s) for s in samples]) for f in (np.mean, _sd, len))
        result = stats.ttest_ind_from_stats(
            np.mean(first), _sd(first), len(first), *moments, equal_var=False
        )
        for i, value in zip(tested, result.pvalue, strict=True):
            p[i] = float(value)
    return p


def _sd(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1))


def _board(all_runs: Sequence[Run], metric: str, confidence: float) -> Board:
    runs, repeats = without_repeats(all_runs)
    varying = _varying(runs)
    sign = -1 if METRICS[metric].lower_is_better else 1
    members: dict[Hashable, list[Run]] = {}
    for run in runs:
        members.setdefault((run.code, run.settings), []).append(run)
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
    params = run.relevant_params
    return {key: params[key] for key in keys if key in params}


def _varying(runs: Sequence[Run]) -> tuple[str, ...]:
    """The relevant params with more than one value, in the order that the runs have them in."""
    trees = list({run.settings: run.relevant_params for run in runs}.values())
    keys = dict.fromkeys(key for tree in trees for key in tree)
    firsts = {key: trees[0].get(key) for key in keys}
    return tuple(k for k, first in firsts.items() if any(t.get(k) != first for t in trees))


def _places(groups: Sequence[Group], metric: str, alpha: float) -> tuple[Place, ...]:
    """Tests every group against the best of those that have several runs."""
    best = next((i for i, group in enumerate(groups) if len(group.runs) > 1), 0)
    values = [[run.metrics[metric] for run in group.runs] for group in groups]
    tested = welch(values[best], values)
    known = {i: p for i, p in enumerate(tested) if p is not None and i != best}
    adjusted = dict(zip(known, adjust(list(known.values())), strict=True))
    places = []
    for i, group in enumerate(groups):
        p = adjusted.get(i)
        if i == best and len(group.runs) > 1:
            standing = Standing.BEST
        elif p is None:
            several = min(len(group.runs), len(values[best])) > 1
            standing = Standing.NO_SPREAD if several else Standing.TOO_FEW
        else:
            standing = Standing.WORSE if p < alpha else Standing.UNCLEAR
        places.append(Place(group, standing, p))
    return tuple(places)
