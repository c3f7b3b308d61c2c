"""Many at once: nothing is missing, nothing is there twice, nothing is damaged."""

import subprocess

import pytest
from conftest import MakeProject
from project import Project

EXPERIMENTS, WORKERS = 20, 4


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_queued_experiments_on_a_cold_store_are_all_there_once(make_project: MakeProject) -> None:
    project = make_project()
    rates = [round(0.001 * (number + 1), 3) for number in range(EXPERIMENTS)]
    project.exp("run", "--queue", "-S", f"train.lr={','.join(map(str, rates))}")
    project.run_queue(WORKERS, timeout=3000)

    status = project.run("dvc", "queue", "status").stdout
    assert status.count("Success") == EXPERIMENTS, status
    runs = project.runs()
    assert sorted(float(run.data.params["train.lr"]) for run in runs) == rates
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len({run.data.tags["dvc.experiment"] for run in runs}) == EXPERIMENTS
    for run in runs:
        assert [step for step, _ in project.metric(run, "train_loss")] == [1, 2]
        assert "test_accuracy" in run.data.metrics
    versions = project.mlflow().search_model_versions("name = 'digits'")
    assert sorted(int(version.version) for version in versions) == list(range(1, EXPERIMENTS + 1))
    assert {version.run_id for version in versions} == {run.info.run_id for run in runs}


@pytest.mark.slow
@pytest.mark.ci
def test_the_second_of_two_dvc_repro_is_refused_while_the_first_runs(
    make_project: MakeProject,
) -> None:
    project = make_project(**{"train.epochs": 200})
    first = project.start("dvc", "repro", "train")
    assert first.stdout is not None
    for line in first.stdout:
        if "epoch   1/200" in line:
            break
    second = project.repro("train", check=False)
    assert second.returncode
    assert "is busy, it is being blocked by" in second.stderr
    assert f"(PID {first.pid})" in second.stderr

    first.communicate(timeout=300)
    assert first.returncode == 0
    assert _is_up_to_date(project)
    project.repro("train")
    assert _is_up_to_date(project)


def _is_up_to_date(project: Project) -> bool:
    done: subprocess.CompletedProcess[str] = project.run("dvc", "status", "train")
    return "up to date" in done.stdout
