"""The command `reprovision leaderboard`: gather the runs, rank them, print."""

from reprovision.core.errors import UserError
from reprovision.core.params import load_params
from reprovision.leaderboard.experiments import finished_experiments
from reprovision.leaderboard.importance import measure_importance
from reprovision.leaderboard.ranking import rank
from reprovision.leaderboard.runs import FinishedRun, check_metric
from reprovision.leaderboard.terminal import print_boards


def leaderboard(mlflow: bool, metric: str) -> None:
    """Prints the ranking of DVC's experiments or of MLflow's runs.

    Raises:
        UserError: there are no finished runs, or they lack the metric.
    """
    runs = _from_mlflow() if mlflow else finished_experiments()
    if not runs:
        raise UserError(
            "there are no finished runs yet: make some, e.g. with "
            "`uv run dvc exp run --queue -S seed=0,1,2`, then `uv run dvc queue start`"
        )
    check_metric(runs, metric)
    boards = rank(runs, metric)
    print_boards(boards, [measure_importance(board, metric) for board in boards], metric)


def _from_mlflow() -> list[FinishedRun]:
    # two seconds to import
    from reprovision.tracking.finished import finished_runs

    return finished_runs(load_params().track.experiment)
