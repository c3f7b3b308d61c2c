"""MLflow runs as other tools read them."""

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run, RunData, RunInfo

from reprovision.core.errors import UserError
from reprovision.tracking.runs import to_run


def test_a_run_that_the_track_stage_has_not_logged_is_refused() -> None:
    # e.g. that of a version which a user has registered by hand
    info = RunInfo("id", "0", "me", "FINISHED", 0, 0, "active", run_name="by hand")
    with pytest.raises(UserError, match="MLflow run by hand names no test set"):
        to_run(MlflowClient("sqlite://"), Run(info, RunData()))
