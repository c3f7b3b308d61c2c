"""The exported model in MLflow: logged with its signature and registered as a new version."""

import json
from importlib.metadata import version
from pathlib import Path

import mlflow
import numpy as np
import onnx
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.models.signature import ModelSignature
from mlflow.types import Schema, TensorSpec

from reprovision.data.dataset import load_info, load_split


def log_model(client: MlflowClient, run: Run, name: str, exported: Path, prepared: Path) -> str:
    """Registers the ONNX model of a run under a name, once; returns its version."""
    run_id = run.info.run_id
    known = client.search_model_versions(f"run_id = '{run_id}' and name = '{name}'")
    if known:
        return str(known[0].version)
    info = load_info(prepared)
    with mlflow.start_run(run_id=run_id):
        logged = mlflow.onnx.log_model(
            onnx.load(str(exported / "model.onnx")),
            name="model",
            registered_model_name=name,
            signature=ModelSignature(
                Schema([TensorSpec(np.dtype(np.uint8), (-1, *info.shape), "pixels")]),
                Schema(
                    [TensorSpec(np.dtype(np.float32), (-1, len(info.classes)), "probabilities")]
                ),
            ),
            input_example={"pixels": load_split(prepared, "test").images[:1].copy()},
            # MLflow would spend seconds guessing them
            pip_requirements=[f"{package}=={version(package)}" for package in REQUIREMENTS],
            metadata={"classes": json.dumps(info.classes)},
            save_as_external_data=False,
        )
    return str(logged.registered_model_version)


REQUIREMENTS = ("mlflow", "onnx", "onnxruntime", "numpy")
