"""The exported model in MLflow: logged with its signature, and registered as a new version."""

import contextlib
import io
import json
import re
from importlib import metadata

import mlflow
import numpy as np
import onnx
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.models.signature import ModelSignature
from mlflow.types import Schema, TensorSpec

from reprovision.core.params import Params
from reprovision.data.dataset import load_info, load_split
from reprovision.results.layout import ONNX_MODEL, PREPARED
from reprovision.tracking.descriptions import describe, version_tags

REQUIREMENTS = ("mlflow", "onnx", "onnxruntime", "numpy")

DESCRIPTION = (
    "Image classifiers as ONNX: `pixels` (uint8, N, C, H, W) in, `probabilities` out; one version "
    "per run. `models:/{name}@champion` is the version that `uv run reprovision promote` last "
    "found better than its predecessor on the same test images; `uv run reprovision rollback` "
    "restores the predecessor."
)


def log_model(client: MlflowClient, run: Run) -> str:
    """Logs the ONNX model of the active run, once; returns its id."""
    found = _find_model(client, run)
    if found:
        return found
    info = load_info(PREPARED)
    pixels = TensorSpec(np.dtype(np.uint8), (-1, *info.shape), "pixels")
    probabilities = TensorSpec(np.dtype(np.float32), (-1, len(info.classes)), "probabilities")
    logged = mlflow.onnx.log_model(
        onnx.load(str(ONNX_MODEL)),
        # MLflow does not allow these characters
        name=re.sub(r"[/:.%\"']", "-", run.info.run_name),
        signature=ModelSignature(Schema([pixels]), Schema([probabilities])),
        input_example={"pixels": load_split(PREPARED, "test").images[:1].copy()},
        # MLflow would spend seconds on guessing them
        pip_requirements=[f"{package}=={metadata.version(package)}" for package in REQUIREMENTS],
        metadata={"classes": json.dumps(info.classes)},
        onnx_execution_providers=["CPUExecutionProvider"],
        save_as_external_data=False,
    )
    return str(logged.model_id)


def register_model(client: MlflowClient, run: Run, params: Params, test: dict[str, float]) -> str:
    """Registers the model of a run, once, and updates the tags of its version.

    Args:
        test: content of results/test.json.

    Returns:
        the number of the version.
    """
    name = params.track.model_name
    known = client.search_model_versions(f"run_id = '{run.info.run_id}' and name = '{name}'")
    version = known[0] if known else _new_version(client, run, name)
    if not version.description:
        client.update_model_version(name, version.version, describe(params, test))
    tags = version_tags(test, load_info(PREPARED).splits["test"].digest)
    for key, value in tags.items():
        client.set_model_version_tag(name, version.version, key, value)
    return str(version.version)


def _new_version(client: MlflowClient, run: Run, name: str) -> ModelVersion:
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name, description=DESCRIPTION.format(name=name))
    model_id = _find_model(client, run)
    # unlike the client's method, it also links the model's page to its version; it prints to stderr
    with contextlib.redirect_stderr(io.StringIO()):
        return mlflow.register_model(f"models:/{model_id}", name)


def _find_model(client: MlflowClient, run: Run) -> str | None:
    logged = client.search_logged_models(
        [run.info.experiment_id], f"source_run_id = '{run.info.run_id}'"
    )
    return str(logged[0].model_id) if logged else None
