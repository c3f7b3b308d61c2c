"""Git: only what is not there is absent; every other failure is reported with Git's reason."""

import os
from pathlib import Path

import pytest

from reprovision.core.errors import UserError
from reprovision.core.git import git, git_or_none, git_text, git_text_or_empty


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a repository with one commit."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ada@example.org")
    git("init", "--quiet", "--initial-branch=main")
    git("commit", "--quiet", "--allow-empty", "--message", "Größe")
    return tmp_path


def test_what_is_not_there_is_absent(repository: Path, tmp_path: Path) -> None:
    assert git_or_none("show", "HEAD:./missing") is None
    (repository / "untracked").touch()
    assert git_or_none("show", "HEAD:./untracked") is None
    assert git_or_none("show", "nowhere:./file") is None
    assert git_text_or_empty("rev-parse", "--verify", "--quiet", "nowhere") == ""


def test_without_a_repository_or_a_commit_everything_is_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert git_text_or_empty("rev-parse", "HEAD") == ""
    git("init", "--quiet")
    assert git_text_or_empty("rev-parse", "HEAD") == ""
    assert git_text_or_empty("log", "-1") == ""


def test_another_failure_is_reported_with_its_reason(repository: Path) -> None:
    (repository / ".git" / "HEAD").write_text("ref: refs/heads/main")
    (repository / ".git" / "config").write_text("[core\n")
    with pytest.raises(UserError, match=r"git show failed \(fatal: bad config line 1"):
        git_or_none("show", "HEAD:./file")


def test_a_repository_of_another_user_is_not_taken_for_none(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(UserError, match="detected dubious ownership in repository at"):
        git_or_none("rev-parse", "HEAD")


def test_without_git_its_installation_is_recommended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="install Git"):
        git_or_none("rev-parse", "HEAD")


def test_messages_are_utf_8_whatever_a_user_has_configured(repository: Path) -> None:
    git("config", "i18n.logOutputEncoding", "ISO-8859-1")
    assert git_text("log", "-1", "--format=%s") == "Größe"


def test_a_hook_does_not_lead_into_its_own_repository(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path_factory.mktemp("other")
    git("init", "--quiet", "--initial-branch=elsewhere", folder=other)
    monkeypatch.setenv("GIT_DIR", str(repository / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(repository / ".git" / "index"))
    assert git_text("symbolic-ref", "--short", "HEAD", folder=other) == "elsewhere"
    assert git_text("symbolic-ref", "--short", "HEAD") == "main"
