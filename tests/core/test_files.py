"""Where the main workspace is, as DVC and other projects may have set it."""

from pathlib import Path

import pytest

from reprovision.core.files import workspace


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project under DVC, with this process in it."""
    (tmp_path / "main" / ".dvc").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "main")
    return tmp_path / "main"


def test_without_dvc_it_is_the_working_directory(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert workspace() == root


def test_a_temporary_copy_belongs_to_the_workspace_that_made_it(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = root / ".dvc" / "tmp" / "exps" / "tmp1"
    (copy / ".dvc").mkdir(parents=True)
    monkeypatch.setenv("DVC_ROOT", str(root))
    monkeypatch.chdir(copy)
    assert workspace() == root


def test_a_stage_of_another_project_does_not_move_it(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".dvc").mkdir()
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert workspace() == root
