"""CI compares a pull request with its base, and does nothing that a stranger could misuse."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import MakeProject
from project import ROOT, Project

from reprovision.comparison.gate import FAILED

WORKFLOW = ROOT / ".github/workflows/ci.yml"


@pytest.fixture(scope="module")
def workflow() -> dict[str, Any]:
    # YAML 1.1 reads the key `on` as true
    tree = yaml.safe_load(WORKFLOW.read_text())
    return {"on" if key is True else key: value for key, value in tree.items()}


@pytest.mark.slow
@pytest.mark.ci
def test_the_script_compares_two_commits_as_ci_does(make_project: MakeProject) -> None:
    project = make_project(reproduced=True)
    project.git("switch", "--quiet", "--create", "proposal")
    project.set_params(**{"train.epochs": 1, "train.lr": 1e-9})
    project.commit("a rate that learns nothing")

    done = compare(project, "main", "--fail-if", "worse", "--min", "accuracy=0.99")

    assert done.returncode == FAILED, done.stdout + done.stderr
    line = done.stderr.splitlines()[-1]
    assert line.startswith("gate failed: ") and "below --min accuracy=0.99" in line
    assert (project.root / "report/gate.txt").read_text() == f"{line}\n"
    report = (project.root / "report/report.md").read_text()
    assert line.split(" (")[0] in report
    assert re.search(r"\| train\.epochs \| 2 \| 1 \|", report)
    assert "<svg" in (project.root / "report/report.html").read_text()
    summary = project.root / "summary.md"
    assert summary.read_text() == report


def test_without_a_change_the_script_has_nothing_to_do_and_passes(reproduced: Project) -> None:
    done = compare(reproduced, "main")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.splitlines()[-1] == "gate passed: not worse (accuracy: no evidence)"
    assert "Running stage" not in done.stdout


@pytest.mark.slow
@pytest.mark.ci
def test_what_a_remote_holds_is_pulled_and_not_reproduced(
    make_project: MakeProject, tmp_path: Path
) -> None:
    project = make_project(reproduced=True)
    project.run("dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
    project.run("dvc", "push")
    project.commit("a remote")
    clone = project.clone(tmp_path / "clone")

    done = compare(clone, "HEAD~1")

    assert done.returncode == 0, done.stdout + done.stderr
    # tracking keeps nothing in the remote; all else came from there
    ran = re.findall(r"Running stage '(\w+)'", done.stdout)
    assert ran in ([], ["track"])
    assert "left out" not in (clone.root / "report/report.md").read_text()


@pytest.mark.slow
def test_a_remote_that_is_closed_to_strangers_only_costs_time(
    make_project: MakeProject, tmp_path: Path
) -> None:
    project = make_project(reproduced=True)
    # there is no support for it here, which is as good as no key
    project.run("dvc", "remote", "add", "--default", "store", "s3://closed")
    done = compare(project, "main")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_broken_pipeline_is_an_error_and_no_verdict(reproduced: Project) -> None:
    reproduced.set_params(**{"train.lr": -1})
    done = compare(reproduced, "main")
    assert done.returncode not in (0, FAILED)
    assert not (reproduced.root / "report").exists()


def test_code_of_a_pull_request_has_no_secrets_and_may_write_nothing(
    workflow: dict[str, Any],
) -> None:
    assert set(workflow["on"]) == {"push", "pull_request"}
    assert workflow["permissions"] == {}
    assert "secrets." not in WORKFLOW.read_text()
    for name, job in workflow["jobs"].items():
        runs_code = any("checkout" in step.get("uses", "") for step in job["steps"])
        if runs_code:
            assert job["permissions"] == {"contents": "read"}, name
        for step in job["steps"]:
            if "checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False, name


def test_names_that_strangers_choose_never_become_part_of_a_script(
    workflow: dict[str, Any],
) -> None:
    for step in steps(workflow):
        assert "${{" not in step.get("run", "")


def test_the_comment_is_updated_and_not_repeated(workflow: dict[str, Any], tmp_path: Path) -> None:
    job = workflow["jobs"]["comment"]
    assert job["permissions"] == {"pull-requests": "write"}
    assert "always()" in job["if"]
    assert "github.event.pull_request.head.repo.full_name == github.repository" in job["if"]
    script = job["steps"][-1]["run"]
    (tmp_path / "report").mkdir()
    (tmp_path / "report/report.md").write_text("better")
    # a stand-in for GitHub's own command that knows of one comment, or of none
    gh = tmp_path / "gh"
    gh.write_text('#!/bin/bash\ncase "$*" in *--jq*) echo "$KNOWN";; *) echo "$@" >>calls;; esac\n')
    gh.chmod(0o755)
    for known in ("", "17"):
        env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "KNOWN": known}
        env |= {"REPOSITORY": "o/r", "NUMBER": "5"}
        subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path, env=env, check=True)
    created, updated = (tmp_path / "calls").read_text().splitlines()
    assert created == "api repos/o/r/issues/5/comments --field body=@body.md"
    assert updated == "api --method PATCH repos/o/r/issues/comments/17 --field body=@body.md"
    assert (tmp_path / "body.md").read_text().splitlines()[1:] == ["better"]


def test_the_gate_is_a_check_that_cannot_be_skipped(workflow: dict[str, Any]) -> None:
    gate = workflow["jobs"]["gate"]
    assert gate["if"].startswith("always()")
    script = gate["steps"][0]["run"]
    for status, passes in (("0", True), ("3", False), ("1", False), ("", False)):
        assert (run_step(script, STATUS=status, GATE="a line") == 0) is passes


def test_every_action_is_pinned_to_a_version(workflow: dict[str, Any]) -> None:
    used = [step["uses"] for step in steps(workflow) if "uses" in step]
    assert used
    for action in used:
        owner = action.split("/")[0]
        assert owner in ("actions", "astral-sh"), action
        # a tag can be moved, a commit can't
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action), action


def test_the_workflow_runs_the_scripts_that_run_here(workflow: dict[str, Any]) -> None:
    scripts = "\n".join(step.get("run", "") for step in steps(workflow))
    for name in set(re.findall(r"\.ci/\w+", scripts)):
        assert (ROOT / name).stat().st_mode & 0o111, name
    assert {".ci/run", ".ci/compare"} <= set(re.findall(r"\.ci/\w+", scripts))


def steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def run_step(script: str, **env: str) -> int:
    """The exit status of a step as GitHub runs it."""
    return subprocess.run(["bash", "-e", "-c", script], env=env, check=False).returncode


def compare(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the script in a project, with a summary as GitHub asks for."""
    project.env["GITHUB_STEP_SUMMARY"] = str(project.root / "summary.md")
    return project.run("bash", ".ci/compare", *arguments, check=False)
