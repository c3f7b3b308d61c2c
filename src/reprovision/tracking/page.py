"""What MLflow's pages show of an experiment before anyone has set anything.

MLflow opens experiments as those of language models unless the address says otherwise, and its
table of runs has no metrics until columns are chosen: a view with columns is saved with the
experiment, and `runs_page` is the address that opens it. A version of MLflow that reads saved views
in another way shows its own default.
"""

import base64
import json
import zlib

VIEW = "reprovision"

COLUMNS = (
    "metrics.`test_accuracy`",
    "metrics.`test_loss`",
    "metrics.`val_accuracy`",
    "metrics.`train_seconds`",
    "params.`seed`",
    "params.`model.name`",
    "params.`train.optimizer`",
    "params.`train.lr`",
    "params.`train.batch_size`",
    "params.`train.epochs`",
    "attributes.`Models`",
    "attributes.`Dataset`",
)

DESCRIPTION = (
    "One run for each change of params, from the `track` stage. Select some and press *Compare*."
)


def experiment_tags() -> dict[str, str]:
    """Tags of a new experiment: its kind, its description, and a saved view of its runs."""
    state = {
        "orderByKey": "metrics.`test_accuracy`",
        "orderByAsc": False,
        "selectedColumns": list(COLUMNS),
    }
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    view = {"name": "by test accuracy", "createdAt": 0, "state": f"deflate;{packed}"}
    return {
        "mlflow.experimentKind": "custom_model_development",
        "mlflow.note.content": DESCRIPTION,
        f"mlflow.sharedViewState.{VIEW}": json.dumps(view),
    }


def runs_page(experiment_id: str) -> str:
    """The address of the table of runs, below that of the server."""
    query = f"workflowType=machine_learning&viewStateShareKey={VIEW}"
    return f"#/experiments/{experiment_id}/runs?{query}"
