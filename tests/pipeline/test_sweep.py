"""docs/sweep.sh: a sweep over several machines, each with a clone of its own."""

from pathlib import Path

import pytest
from conftest import StartServer
from project import Project

SWEEP = ("bash", "docs/sweep.sh", "lr")
LIST = "train.lr=0.01 seed=1\ntrain.lr=0.03 seed=1\n"


def with_origin(project: Project, folder: Path) -> Path:
    """Gives a project an origin and a DVC remote, which have all of it; returns the origin."""
    origin = folder / "origin.git"
    project.git("init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    project.git("remote", "add", "origin", str(origin))
    project.run("dvc", "remote", "add", "--default", "team", str(folder / "remote"))
    project.commit("remotes")
    project.git("push", "--quiet", "origin", "main")
    project.run("dvc", "push")
    (project.root / "sweep.txt").write_text(LIST)
    return origin


@pytest.mark.slow
def test_experiments_of_several_machines_arrive_once_and_a_colleague_gets_the_same_bytes(
    reproduced: Project, mlflow_server: StartServer, tmp_path: Path
) -> None:
    origin = with_origin(reproduced, tmp_path)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    reproduced.env |= {"MLFLOW_TRACKING_URI": mlflow_server(), "TMPDIR": str(scratch)}
    machines = [
        Project(reproduced.root, reproduced.env | {"SLURM_ARRAY_TASK_ID": number})
        for number in ("1", "2")
    ]
    tasks = [machine.start(*SWEEP, "HEAD", "sweep.txt") for machine in machines]
    outputs = [task.communicate(timeout=600)[0] for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], outputs
    # what was prepared already comes from the remote
    assert "Running stage 'train'" in outputs[0]
    assert "Running stage 'prepare'" not in outputs[0]
    repeated = machines[0].run(*SWEEP, "HEAD", "sweep.txt").stdout
    assert repeated == "lr-1 is in origin already\n"
    assert not [*scratch.glob("lr-*")]

    references = reproduced.git("ls-remote", str(origin), "refs/exps/*").splitlines()
    assert sorted(line.rpartition("/")[2] for line in references) == ["lr-1", "lr-2"]
    runs = {run.data.tags["dvc.experiment"]: run for run in reproduced.runs()}
    assert len(reproduced.runs()) == len(runs) == 2
    assert {name: run.data.params["train.lr"] for name, run in runs.items()} == {
        "lr-1": "0.01",
        "lr-2": "0.03",
    }
    assert {run.info.status for run in runs.values()} == {"FINISHED"}

    colleague = reproduced.clone(tmp_path / "colleague", origin)
    assert "lr-2" in colleague.exp("list", "origin").stdout
    colleague.exp("pull", "--no-cache", "origin")
    board = colleague.run("reprovision", "leaderboard").stdout
    assert "lr-1" in board
    assert "lr-2" in board
    colleague.exp("pull", "origin", "lr-2")
    colleague.exp("apply", "lr-2")
    assert colleague.params()["train"]["lr"] == 0.03
    # all outputs are the files that the experiment's dvc.lock describes
    assert "up to date" in colleague.run("dvc", "status", "export").stdout
    assert (colleague.root / "models/checkpoint.safetensors").is_file()


@pytest.mark.parametrize(
    ("arguments", "uri", "sentence"),
    [
        (("HEAD", "sweep.txt"), "http://127.0.0.1:1", "usage: "),
        (("HEAD", "sweep.txt", "1"), "", "set MLFLOW_TRACKING_URI to the address of the server"),
        (("HEAD", "sweep.txt", "3"), "http://127.0.0.1:1", "sweep.txt has no params in line 3"),
    ],
)
def test_a_task_that_lacks_something_is_refused_before_it_trains(
    project: Project, tmp_path: Path, arguments: tuple[str, ...], uri: str, sentence: str
) -> None:
    project.git("remote", "add", "origin", str(tmp_path))
    (project.root / "sweep.txt").write_text(LIST)
    project.env["MLFLOW_TRACKING_URI"] = uri
    assert project.refused(*SWEEP, *arguments).startswith(sentence)


@pytest.mark.slow
def test_what_would_fail_after_the_training_is_refused_before_it(
    reproduced: Project, tmp_path: Path
) -> None:
    with_origin(reproduced, tmp_path)
    reproduced.env |= {"MLFLOW_TRACKING_URI": "http://127.0.0.1:1", "TMPDIR": str(tmp_path)}
    sentence = reproduced.refused(*SWEEP, "HEAD", "sweep.txt", "1")
    assert sentence.startswith("the MLflow server is away, or needs MLFLOW_TRACKING_USERNAME")
    reproduced.run("dvc", "remote", "add", "--force", "--default", "team", "s3://team/dvc")
    reproduced.commit("remote")
    reproduced.git("push", "--quiet", "origin", "main")
    # no machine of Amazon is asked for credentials
    reproduced.env["AWS_EC2_METADATA_DISABLED"] = "true"
    sentence = reproduced.refused(*SWEEP, "HEAD", "sweep.txt", "1")
    assert sentence == "the DVC remote is away, or needs credentials"
    unpushed = reproduced.commit("unpushed")
    sentence = reproduced.refused(*SWEEP, "HEAD", "sweep.txt", "1")
    assert sentence == f"origin has no commit {unpushed}: push it first"
    assert not [*tmp_path.glob("lr-*")]
