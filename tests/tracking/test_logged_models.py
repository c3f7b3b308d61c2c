"""Only a whole model counts: what an interrupted attempt has left is replaced, never shipped."""

import shutil
from collections.abc import Callable
from pathlib import Path

import mlflow
import onnx
import pytest
from mlflow import MlflowClient
from mlflow.entities import LoggedModel
from project import Project

NAME = "digits"


def logged_model(project: Project) -> LoggedModel:
    """The only logged model of the only run."""
    (run,) = project.runs()
    (model,) = project.mlflow().search_logged_models(
        [run.info.experiment_id], f"source_run_id = '{run.info.run_id}'"
    )
    return model


def files_of(model: LoggedModel) -> Path:
    return Path(model.artifact_location.removeprefix("file://"))


def without_files(client: MlflowClient, model: LoggedModel) -> None:
    shutil.rmtree(files_of(model))


def with_half_a_file(client: MlflowClient, model: LoggedModel) -> None:
    path = files_of(model) / "model.onnx"
    path.write_bytes(path.read_bytes()[:1000])


def with_a_flipped_bit(client: MlflowClient, model: LoggedModel) -> None:
    path = files_of(model) / "model.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def never_finished(client: MlflowClient, model: LoggedModel) -> None:
    client.finalize_logged_model(model.model_id, "FAILED")


@pytest.mark.parametrize(
    "damage", [without_files, with_half_a_file, with_a_flipped_bit, never_finished]
)
def test_a_model_that_is_not_whole_is_logged_again(
    reproduced: Project, damage: Callable[[MlflowClient, LoggedModel], None]
) -> None:
    client, broken = reproduced.mlflow(), logged_model(reproduced)
    damage(client, broken)
    # as it was when the connection was cut
    client.update_run(broken.source_run_id, "RUNNING")

    reproduced.run("reprovision", "sync")

    new = logged_model(reproduced)
    assert new.model_id != broken.model_id
    (run,) = reproduced.runs()
    assert run.info.status == "FINISHED"
    (version,) = client.search_model_versions(f"name = '{NAME}'")
    assert version.source == f"models:/{new.model_id}"
    mlflow.set_tracking_uri(reproduced.store)
    loaded = mlflow.onnx.load_model(f"models:/{NAME}/{version.version}")
    assert loaded == onnx.load(str(reproduced.root / "models/exported/model.onnx"))


def test_a_version_that_cannot_be_loaded_is_not_promoted(reproduced: Project) -> None:
    without_files(reproduced.mlflow(), logged_model(reproduced))
    sentence = reproduced.refused("reprovision", "promote", "1")
    assert "version 1 of digits can't be loaded from MLflow" in sentence
    assert not reproduced.mlflow().get_registered_model(NAME).aliases
