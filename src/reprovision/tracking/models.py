"""The exported model in MLflow: logged with its signature and registered as a new version."""

import contextlib
import io
import json
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import mlflow
import numpy as np
import onnx
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.models.signature import ModelSignature
from mlflow.types import Schema, TensorSpec

from reprovision.data.dataset import load_info, load_split

REQUIREMENTS = ("mlflow", "onnx", "onnxruntime", "numpy")

DESCRIPTION = (
    "Image classifiers as ONNX: `pixels` (uint8, N, C, H, W) in, `probabilities` out. Each run has "
    "a version. `models:/{name}@champion` is the version that `uv run reprovision promote` last "
    "found better than its predecessor on the same test images; `uv run reprovision rollback` "
    "gives the predecessor its place back."
)


def log_model(client: MlflowClient, run: Run, exported: Path, prepared: Path) -> str:
    """Logs the ONNX model of a run, once; returns its id."""
    known = client.search_logged_models(
        [run.info.experiment_id], f"source_run_id = '{run.info.run_id}'"
    )
    return str(known[0].model_id) if known else _log(client, run, exported, prepared)


def register_model(
    client: MlflowClient,
    run: Run,
    model_id: str,
    name: str,
    description: str,
    tags: Mapping[str, str],
) -> str:
    """Registers a run's model under a name, once, and gives the version its tags.

    Args:
        description: of the version, where it has none yet.

    Returns:
        the number of the version.
    """
    known = client.search_model_versions(f"run_id = '{run.info.run_id}' and name = '{name}'")
    version = known[0] if known else _new_version(client, model_id, name)
    if not version.description:
        client.update_model_version(name, version.version, description)
    for key, value in tags.items():
        if version.tags.get(key) != value:
            client.set_model_version_tag(name, version.version, key, value)
    return str(version.version)


def _new_version(client: MlflowClient, model_id: str, name: str) -> ModelVersion:
    """Makes a version of the model that is registered under a name, which need not be there yet."""
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name, description=DESCRIPTION.format(name=name))
    # unlike the client's own method, it links the pages of model and version in a local store, too;
    # what it says of that would bury our own lines
    with contextlib.redirect_stderr(io.StringIO()):
        return mlflow.register_model(f"models:/{model_id}", name)


def _log(client: MlflowClient, run: Run, exported: Path, prepared: Path) -> str:
    """Logs the model; returns its id."""
    info = load_info(prepared)
    classes = len(info.classes)
    with mlflow.start_run(run_id=run.info.run_id):
        logged = mlflow.onnx.log_model(
            onnx.load(str(exported / "model.onnx")),
            # MLflow does not take these signs
            name=re.sub(r"[/:.%\"']", "-", run.info.run_name),
            signature=ModelSignature(
                Schema([TensorSpec(np.dtype(np.uint8), (-1, *info.shape), "pixels")]),
                Schema([TensorSpec(np.dtype(np.float32), (-1, classes), "probabilities")]),
            ),
            input_example={"pixels": load_split(prepared, "test").images[:1].copy()},
            # MLflow would spend seconds guessing them
            pip_requirements=[f"{package}=={version(package)}" for package in REQUIREMENTS],
            metadata={"classes": json.dumps(info.classes)},
            onnx_execution_providers=["CPUExecutionProvider"],
            save_as_external_data=False,
        )
    # leaving the block has finished the run, which lacks its metrics still
    client.update_run(run.info.run_id, "RUNNING")
    return str(logged.model_id)
