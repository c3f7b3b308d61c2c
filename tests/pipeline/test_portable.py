"""The same bytes: on any processor, with any environment, in a fresh clone of this repository."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from conftest import MakeProject
from project import HOSTILE, ROOT, Project, listed_files

COMPUTING = ("prepare", "train", "evaluate", "export")
"""The stages whose outputs must not depend on the machine; track only copies them."""

PROCESSORS = (
    pytest.param("Skylake-Client-noTSX-IBRS", marks=pytest.mark.ci),
    "EPYC-Rome",
)
"""An Intel and an AMD processor that QEMU emulates."""


needs_qemu = pytest.mark.skipif(not shutil.which("qemu-x86_64"), reason="needs qemu-user")


def run_stages(project: Project, *launcher: str) -> dict[str, str]:
    """Runs the stages without DVC, by a launcher's command; returns the digests of outputs."""
    for stage in COMPUTING:
        _, *arguments = project.stage(stage)
        project.run(*launcher, sys.executable, *arguments, timeout=1500)
    return project.outputs()


@pytest.mark.slow
@pytest.mark.ci
def test_the_committed_results_come_out_byte_for_byte(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    project = Project(tmp_path / "clone", environment)
    for name in listed_files(environment):
        (project.root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, project.root / name)
    project.git("init", "--quiet", "--initial-branch=main")
    project.introduce_author()
    project.commit("everything as it is")
    project.repro("--force")
    assert project.git("status", "--short") == ""


@pytest.mark.slow
@pytest.mark.ci
def test_nothing_that_a_user_sets_changes_bytes(make_project: MakeProject) -> None:
    plain, hostile = (make_project(**{"train.threads": 2}) for _ in range(2))
    hostile.env |= HOSTILE | {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    (hostile.root / "matplotlibrc").write_text("font.size: 20\naxes.facecolor: yellow\n")
    one_processor = ("taskset", "--cpu-list", str(min(os.sched_getaffinity(0))))
    assert run_stages(plain) == run_stages(hostile, *one_processor)


@pytest.mark.slow
@needs_qemu
@pytest.mark.parametrize("processor", PROCESSORS)
def test_other_processors_give_the_same_bytes(make_project: MakeProject, processor: str) -> None:
    here, there = make_project(), make_project()
    assert run_stages(there, "qemu-x86_64", "-cpu", processor) == run_stages(here)
