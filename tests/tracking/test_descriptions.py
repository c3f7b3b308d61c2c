"""How a run presents itself in MLflow."""

import os
import pwd

import pytest
from project import Project

from reprovision.tracking.descriptions import how_to_keep, source_tags


def test_a_user_without_a_name_is_known_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    # as in a container that is started with another user than its image knows
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)

    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert source_tags()["mlflow.user"] == str(os.getuid())


def test_what_dvc_knows_of_other_photos_is_kept_too(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.root)
    project.set_params(seed=1)
    assert how_to_keep("data/photos").endswith("git add dvc.lock params.yaml results && git commit")
    note = project.root / "data/photos.dvc"
    note.write_text("outs: []")
    assert "git add dvc.lock params.yaml results data/photos.dvc &&" in how_to_keep("data/photos")
    project.commit("photos")
    project.set_params(seed=2)
    assert "photos.dvc" not in how_to_keep("data/photos")
