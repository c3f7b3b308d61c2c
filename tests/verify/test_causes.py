"""Where a commit's results come out differently, the cause is named as far as it can be seen."""

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from project import Project

from reprovision.core.files import write_json
from reprovision.verify.causes import find_causes

PORTABLE = {"numerics": "portable"}


@pytest.fixture
def project(
    tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Project]:
    """A repository, with this process in it."""
    made = Project(tmp_path / "project", environment)
    made.root.mkdir()
    made.git("init", "--quiet")
    made.introduce_author()
    monkeypatch.chdir(made.root)
    yield made


def numerics(folder: Path, **training: str) -> None:
    write_json(folder / "results/numerics.json", {"training": training, "evaluation": PORTABLE})


def causes(project: Project, again: Path) -> list[str]:
    return list(find_causes(project.commit("results"), again))


def test_other_versions_of_packages_are_named(project: Project, tmp_path: Path) -> None:
    installed = version("numpy")
    (project.root / "requirements.txt").write_text(
        "numpy==1.0 ; python_full_version >= '3' \\\n    --hash=sha256:00\n"
        "numpy==2.0 ; python_full_version < '3' \\\n    --hash=sha256:00\n"
        "a-package-that-nobody-has==1 \\\n    --hash=sha256:00\n"
        f"scipy=={version('scipy')}\n"
    )
    (sentence,) = causes(project, tmp_path)
    assert f": numpy {installed} instead of 1.0. Run" in sentence


def test_other_native_numerics_is_named(project: Project, tmp_path: Path) -> None:
    numerics(project.root, numerics="native", processor="Intel", threads="2")
    numerics(tmp_path / "again", numerics="native", processor="AMD", threads="2", MKL_CBWR="AUTO")
    (sentence,) = causes(project, tmp_path / "again")
    assert "training was computed with other native numerics" in sentence
    assert "processor Intel → AMD, MKL_CBWR not set → AUTO" in sentence
    assert "threads" not in sentence


def test_without_a_visible_cause_nothing_is_claimed(project: Project, tmp_path: Path) -> None:
    for folder in (project.root, tmp_path / "again"):
        numerics(folder, **PORTABLE)
    assert causes(project, tmp_path / "again") == []
    # of an older version
    (project.root / "results/numerics.json").unlink()
    assert causes(project, tmp_path / "again") == []
