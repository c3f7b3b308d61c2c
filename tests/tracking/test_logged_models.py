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

from reprovision.core.params import load_params
from reprovision.tracking.champion import promote
from reprovision.tracking.log_run import log_run
from reprovision.tracking.models import download_model

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


def onnx_file(model: LoggedModel) -> Path:
    return files_of(model) / "artifacts" / "model.onnx"


def without_files(client: MlflowClient, model: LoggedModel) -> None:
    shutil.rmtree(files_of(model))


def with_half_a_file(client: MlflowClient, model: LoggedModel) -> None:
    path = onnx_file(model)
    path.write_bytes(path.read_bytes()[:1000])


def with_a_flipped_bit(client: MlflowClient, model: LoggedModel) -> None:
    path = onnx_file(model)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def never_finished(client: MlflowClient, model: LoggedModel) -> None:
    client.finalize_logged_model(model.model_id, "FAILED")


@pytest.mark.parametrize(
    "damage",
    [
        without_files,
        never_finished,
        pytest.param(with_half_a_file, marks=pytest.mark.slow),
        pytest.param(with_a_flipped_bit, marks=pytest.mark.slow),
    ],
)
def test_a_model_that_is_not_whole_is_logged_again(
    reproduced: Project, damage: Callable[[MlflowClient, LoggedModel], None]
) -> None:
    client, broken = reproduced.mlflow(), logged_model(reproduced)
    metrics = {metric.key: metric.value for metric in broken.metrics}
    damage(client, broken)
    # as it was when the connection was cut
    client.update_run(broken.source_run_id, "RUNNING")

    reproduced.run("reprovision", "sync")

    new = logged_model(reproduced)
    assert new.model_id != broken.model_id
    (run,) = reproduced.runs()
    assert run.info.status == "FINISHED"
    # MLflow links those of the run to it
    assert metrics.items() <= {metric.key: metric.value for metric in new.metrics}.items()
    assert len(client.get_metric_history(run.info.run_id, "test_accuracy")) == 1
    (version,) = client.search_model_versions(f"name = '{NAME}'")
    assert version.source == f"models:/{new.model_id}"
    exported = reproduced.root / "models/exported/model.onnx"
    assert onnx_file(new).read_bytes() == exported.read_bytes()


def test_a_version_that_cannot_be_loaded_is_not_promoted(reproduced: Project) -> None:
    without_files(reproduced.mlflow(), logged_model(reproduced))
    sentence = reproduced.refused("reprovision", "promote", "1")
    assert "version 1 of digits can't be loaded from MLflow" in sentence
    assert not reproduced.mlflow().get_registered_model(NAME).aliases


def test_a_model_that_an_older_version_has_logged_stays_and_can_be_used(
    reproduced: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = logged_model(reproduced)
    shutil.rmtree(files_of(old))
    exported = reproduced.root / "models/exported/model.onnx"
    mlflow.onnx.save_model(
        onnx.load(str(exported)),
        str(files_of(old)),
        pip_requirements=["onnx"],
        save_as_external_data=False,
    )

    monkeypatch.chdir(reproduced.root)
    log_run(load_params(), reproduced.json("results/track.json")["key"])
    assert logged_model(reproduced).model_id == old.model_id
    assert promote(load_params(), "1").is_champion
    path = download_model(load_params(), f"models:/{NAME}@champion")
    assert path.read_bytes() == exported.read_bytes()


def test_files_that_dvc_has_linked_are_logged(
    reproduced: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = reproduced.root / "models/exported/model.onnx"
    content = exported.read_bytes()
    # as with cache.type symlink
    exported.rename(reproduced.root / "cached")
    exported.symlink_to(reproduced.root / "cached")
    (reproduced.root / "mlflow.db").unlink()
    monkeypatch.chdir(reproduced.root)
    log_run(load_params(), "key")
    assert onnx_file(logged_model(reproduced)).read_bytes() == content
