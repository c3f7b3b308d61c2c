"""The exported model in MLflow: logged so that it takes image files, registered as a new version.

MLflow loads and serves it with the code in `image_classifier.py`.
"""

import contextlib
import io
import json
import re
import shutil
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import numpy as np
import onnx
from google.protobuf.message import DecodeError
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelStatus, Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models.signature import ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import Map
from onnx.checker import ValidationError

from reprovision.core.errors import UserError
from reprovision.core.params import Params
from reprovision.data.dataset import load_info, load_split
from reprovision.images.preprocessing import to_pillow
from reprovision.results.layout import ONNX_MODEL, PREPARED, PREPROCESSING
from reprovision.tracking.descriptions import describe, version_tags
from reprovision.tracking.store import TRY_AGAIN, open_store

REQUIREMENTS = ("mlflow", "numpy", "onnxruntime", "pillow")
"""Of `image_classifier.py` and preprocessing.py."""

DESCRIPTION = (
    "Image classifiers: image files or pixels in, class and probabilities out; one version per "
    "run. `models:/{name}@champion` is the version that `uv run reprovision promote` last "
    "found better than its predecessor on the same test images; `uv run reprovision rollback` "
    "restores the predecessor."
)


def log_model(client: MlflowClient, run: Run, found: str | None) -> str:
    """Logs the ONNX model of the active run, unless `find_model` has found it; returns its id.

    What an interrupted attempt has left is deleted: it may look like a model, and lack its file.
    """
    for model in _logged_models(client, run):
        if model.model_id != found:
            client.delete_logged_model(model.model_id)
    if found:
        return found
    with TemporaryDirectory() as folder:
        # DVC's may be links, which MLflow refuses
        files = {path.stem: shutil.copy(path, folder) for path in (ONNX_MODEL, PREPROCESSING)}
        logged = mlflow.pyfunc.log_model(
            # MLflow does not allow these characters
            name=re.sub(r"[/:.%\"']", "-", run.info.run_name),
            python_model=str(Path(__file__).with_name("image_classifier.py")),
            artifacts=files,
            signature=_signature(),
            input_example=[_png(load_split(PREPARED, "test").images[0])],
            # MLflow would spend seconds on guessing them
            pip_requirements=[f"{name}=={metadata.version(name)}" for name in REQUIREMENTS],
            metadata={"classes": json.dumps(load_info(PREPARED).classes)},
        )
    return str(logged.model_id)


def _signature() -> ModelSignature:
    """Contents of image files in, a table out.

    MLflow can't describe "files or pixels". It would refuse pixels, unless the signature is that of
    a type hint `list[bytes]`, which leaves all checks to the model.
    """
    table = Schema(
        [
            ColSpec(DataType.string, "predicted"),
            ColSpec(DataType.double, "confidence"),
            ColSpec(Map(DataType.double), "probabilities"),
        ]
    )
    signature = ModelSignature(Schema([ColSpec(DataType.binary)]), table)
    signature._is_signature_from_type_hint = True
    return signature


def _png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    to_pillow(np.asarray(image)).save(file, "PNG")
    return file.getvalue()


def register_model(
    client: MlflowClient, run: Run, model_id: str, params: Params, test: dict[str, float]
) -> str:
    """Registers the model of a run, once, and updates the tags of its version.

    Args:
        model_id: of the logged model.
        test: content of results/test.json.

    Returns:
        the number of the version.
    """
    name = params.registered_model
    known = client.search_model_versions(f"run_id = '{run.info.run_id}' and name = '{name}'")
    whole = [v for v in known if v.status == "READY" and v.source == f"models:/{model_id}"]
    for broken in (v for v in known if v not in whole):
        client.delete_model_version(name, broken.version)
    version = whole[0] if whole else _new_version(client, model_id, name)
    if not version.description:
        client.update_model_version(name, version.version, describe(params, test))
    tags = version_tags(test, load_info(PREPARED).splits["test"].digest)
    for key, value in tags.items():
        client.set_model_version_tag(name, version.version, key, value)
    return str(version.version)


def _new_version(client: MlflowClient, model_id: str, name: str) -> ModelVersion:
    if not client.search_registered_models(f"name = '{name}'"):
        try:
            client.create_registered_model(name, description=DESCRIPTION.format(name=name))
        except MlflowException as error:
            # another process may have just done so
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
    # unlike the client's method, it also links the model's page to its version; it prints to stderr
    with contextlib.redirect_stderr(io.StringIO()):
        return mlflow.register_model(f"models:/{model_id}", name)


def find_model(client: MlflowClient, run: Run) -> str | None:
    """The id of the run's logged model, if it is whole: finished, and the exported model."""
    exported = ONNX_MODEL.read_bytes()
    for model in _logged_models(client, run):
        if model.status == LoggedModelStatus.READY and _read(model.model_uri) == exported:
            return str(model.model_id)
    return None


def _read(uri: str) -> bytes | None:
    """The ONNX file of a model in MLflow; None where it is missing."""
    try:
        return fetch_model(uri).read_bytes()
    except (MlflowException, OSError):
        return None


def _logged_models(client: MlflowClient, run: Run) -> Sequence[LoggedModel]:
    return client.search_logged_models(
        [run.info.experiment_id], f"source_run_id = '{run.info.run_id}'"
    )


def require_loadable(version: ModelVersion) -> None:
    """Raises a UserError where a version of a registered model can't be loaded."""
    if version.status != "READY" or not _is_onnx(f"models:/{version.name}/{version.version}"):
        raise UserError(
            f"version {version.version} of {version.name} can't be loaded from MLflow: "
            "run `uv run reprovision sync` in the workspace that made it, or choose another one"
        )


def _is_onnx(uri: str) -> bool:
    content = _read(uri)
    try:
        onnx.checker.check_model(content or b"")
    # whatever the parser raises for a file that is missing or not whole
    except (ValueError, DecodeError, ValidationError):
        return False
    return True


def download_model(params: Params, uri: str) -> Path:
    """The exported model behind an address such as `models:/NAME@champion`, as a local file.

    Raises:
        UserError: MLflow can't be used, or has no such model.
    """
    with open_store(params.track.experiment, then=TRY_AGAIN):
        return fetch_model(uri)


def fetch_model(uri: str, into: str | None = None) -> Path:
    """The same within an open store; as a copy in a folder, if one is named."""
    folder = Path(mlflow.artifacts.download_artifacts(uri, dst_path=into))
    # where it lies depends on the version that logged it
    return next(folder.rglob(ONNX_MODEL.name), folder / ONNX_MODEL.name)
