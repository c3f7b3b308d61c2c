"""A team's real services: MLflow with accounts on PostgreSQL, and DVC's remote on S3.

Each test has services of its own, which are empty at first; see `team.py`.
"""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import MakeProject
from mlflow.entities import Run
from PIL import Image
from project import Project
from servers import free_port, kill_group, wait_for
from team import DATABASE_PASSWORD, PASSWORDS, S3_KEYS, SECRETS, Team, team_services

pytestmark = pytest.mark.slow

LOCAL_METRICS = ("train_seconds", "export_max_difference")
"""Only the machine that trained a run knows them."""

LOCAL_OUTPUT = "results/track.json"
"""The receipt of the track stage: never cached, so that track runs in a new clone."""


@pytest.fixture
def team(tmp_path: Path, environment: dict[str, str]) -> Iterator[Team]:
    folder = tmp_path / "services"
    folder.mkdir()
    with team_services(folder, environment) as started:
        yield started


def stages_run(done: "subprocess.CompletedProcess[str]") -> list[str]:
    """The stages that DVC has run, and not restored or skipped."""
    return re.findall(r"Running stage '(\w+)'", done.stdout)


def outputs(project: Project) -> dict[str, str]:
    """Digests of all outputs that every clone shares."""
    return {path: digest for path, digest in project.outputs().items() if path != LOCAL_OUTPUT}


def artifacts(project: Project, run: Run, folder: str | None = None) -> Iterator[str]:
    """The paths of all artifacts of a run."""
    for file in project.mlflow().list_artifacts(run.info.run_id, folder):
        if file.is_dir:
            yield from artifacts(project, run, file.path)
        else:
            yield file.path


def described(project: Project, run: Run) -> dict[str, Any]:
    """All of a run that does not depend on the machine or the server."""
    client = project.mlflow()
    (model,) = client.search_logged_models(
        [run.info.experiment_id], f"source_run_id = '{run.info.run_id}'"
    )
    (version,) = client.search_model_versions(f"run_id = '{run.info.run_id}'")
    assert run.info.status == "FINISHED"
    assert version.source == f"models:/{model.model_id}"
    return {
        "params": run.data.params,
        "metrics": {
            name: project.metric(run, name)
            for name in run.data.metrics
            if name not in LOCAL_METRICS
        },
        "tags": {k: v for k, v in run.data.tags.items() if k.startswith("reprovision.")},
        "artifacts": sorted(artifacts(project, run)),
        "model": sorted(file.path for file in client.list_logged_model_artifacts(model.model_id)),
        "version": {k: v for k, v in version.tags.items() if k.startswith("test_")},
    }


@pytest.mark.ci
def test_a_second_clone_gets_all_results_without_training_and_fills_the_empty_server(
    reproduced: Project, team: Team, tmp_path: Path
) -> None:
    # logged to the store of its own
    (logged,) = reproduced.runs()
    known = described(reproduced, logged)
    team.add_remote(reproduced)
    team.join(reproduced, "ada")
    reproduced.run("dvc", "push")

    clone = reproduced.clone(tmp_path / "clone")
    team.join(clone, "bob")
    clone.run("dvc", "pull")
    assert outputs(clone) == outputs(reproduced)
    assert stages_run(clone.repro()) == ["track"]
    (backfilled,) = clone.runs()
    assert described(clone, backfilled) == known
    assert clone.git("status", "--porcelain") == ""

    # an experiment of the one, repeated by the other: restored, and the same run
    change = ("-S", "train.lr=0.01")
    assert "train" in stages_run(clone.exp("run", *change))
    clone.run("dvc", "push", "--run-cache")
    reproduced.run("dvc", "pull", "--run-cache")
    repeated = reproduced.exp("run", "--pull", *change)
    assert "Stage 'train' is cached" in repeated.stdout
    assert "train" not in stages_run(repeated)
    assert outputs(reproduced) == outputs(clone)
    assert len(reproduced.runs()) == 2


@pytest.mark.ci
def test_without_the_right_password_training_is_kept_and_one_sentence_says_what_to_set(
    make_project: MakeProject, team: Team
) -> None:
    project = make_project()
    project.env["MLFLOW_TRACKING_URI"] = f"http://{team.server}"
    for password in ("", "not-the-password"):
        if password:
            project.env |= {
                "MLFLOW_TRACKING_USERNAME": "ada",
                "MLFLOW_TRACKING_PASSWORD": password,
            }
        sentence = project.refused("dvc", "repro")
        assert "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in sentence
        assert "all results are kept" in sentence
        assert "not-the-password" not in sentence
        assert "models/exported/model.onnx" in project.outputs()

    # the user in the address, the password in the variable
    project.env["MLFLOW_TRACKING_URI"] = f"http://ada@{team.server}"
    project.env["MLFLOW_TRACKING_PASSWORD"] = PASSWORDS["ada"]
    assert stages_run(project.repro()) == ["track"]
    project.env["MLFLOW_TRACKING_URI"] = team.uri("ada")
    (run,) = project.runs()
    assert run.info.status == "FINISHED"


def test_artifacts_that_a_server_leaves_to_its_clients_need_the_keys_of_s3(
    reproduced: Project, environment: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "services"
    folder.mkdir()
    options = ("--no-serve-artifacts", "--default-artifact-root", "s3://team/direct")
    with team_services(folder, environment, *options) as team:
        (logged,) = reproduced.runs()
        known = described(reproduced, logged)
        team.join(reproduced, "ada")
        without = dict.fromkeys(S3_KEYS, "")
        reproduced.env |= without | {"AWS_EC2_METADATA_DISABLED": "true"}
        sentence = reproduced.refused(*reproduced.stage("track"))
        assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in sentence

        team.join(reproduced, "ada")
        reproduced.env |= {"MLFLOW_S3_ENDPOINT_URL": team.s3}
        reproduced.run(*reproduced.stage("track"))
        found = {name.partition("/artifacts/")[2] for name in team.objects()}
        assert {*known["artifacts"]} <= found


@pytest.mark.timeout(3600)
def test_twenty_experiments_from_two_clones_at_once_are_twenty_complete_runs(
    make_project: MakeProject, team: Team, tmp_path: Path
) -> None:
    first = make_project()
    clones = first, first.clone(tmp_path / "clone")
    try:
        users, grids = ("ada", "bob"), ("0,1,2,3,4", "5,6,7,8,9")
        for user, clone, seeds in zip(users, clones, grids, strict=True):
            team.join(clone, user)
            clone.exp("run", "--queue", "-S", f"seed={seeds}", "-S", "train.lr=0.02,0.01")
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda clone: clone.run_queue(1, timeout=3000), clones))
    finally:
        clones[1].stop_queue()
    runs = first.runs()
    assert len(runs) == 20
    assert len({run.data.tags["reprovision.key"] for run in runs}) == 20
    assert len({(run.data.params["seed"], run.data.params["train.lr"]) for run in runs}) == 20
    described_runs = [described(first, run) for run in runs]
    for name in ("artifacts", "model"):
        assert len({tuple(run[name]) for run in described_runs}) == 1
    assert {"test.json", "predictions.csv", "plots/curves.png"} <= {*described_runs[0]["artifacts"]}
    for run in described_runs:
        assert run["metrics"].keys() == described_runs[0]["metrics"].keys()
        assert len(run["metrics"]["train_loss"]) == 2
    versions = first.mlflow().search_model_versions("name = 'digits'")
    assert {version.run_id for version in versions} == {run.info.run_id for run in runs}
    assert len(versions) == 20


def test_passwords_are_shown_and_kept_nowhere(
    make_project: MakeProject, team: Team, tmp_path: Path
) -> None:
    # long enough to be logged live
    project = make_project(**{"train.epochs": 400, "train.batch_size": 5})
    team.add_remote(project)
    team.join(project, "ada")
    image = tmp_path / "digit.png"
    Image.new("L", (8, 8), 128).save(image)
    shown = [project.repro()]
    project.commit("results")
    for command in (
        ("reprovision", "sync"),
        ("reprovision", "promote"),
        ("reprovision", "rollback"),
        ("reprovision", "leaderboard", "--mlflow"),
        ("reprovision", "predict", "--model", "models:/digits@champion", str(image)),
        ("reprovision", "evaluate", "models:/digits@champion", "--source", "data/digits.yaml"),
        ("reprovision", "promote", "17"),
        ("dvc", "exp", "run", "--temp", "-S", "train.epochs=1"),
        ("dvc", "exp", "run", "--queue", "-S", "train.epochs=2"),
        ("dvc", "queue", "status"),
        ("dvc", "exp", "show", "--no-pager"),
        ("dvc", "push", "--run-cache"),
        ("dvc", "config", "--list"),
    ):
        shown.append(project.run(*command, check=False))
        assert "Traceback" not in shown[-1].stderr, shown[-1].stderr
    port = free_port()
    champion = ("--model", "models:/digits@champion")
    service = project.start("reprovision", "serve", "--port", str(port), *champion)
    try:
        wait_for(f"http://127.0.0.1:{port}", service)
        os.killpg(service.pid, signal.SIGTERM)
        shown_by_service, _ = service.communicate(timeout=60)
    finally:
        kill_group(service)
    track = project.stage("track")
    for uri in (
        f"http://ada:{PASSWORDS['ada']}@127.0.0.1:{free_port()}",
        f"http://eve:{PASSWORDS['ada']}@{team.server}",
        f"ada:{PASSWORDS['ada']}@{team.server}/elsewhere",
        f"http://ada:a/{PASSWORDS['ada']}@{team.server}",
        f"postgresql://mlflow:{PASSWORDS['ada']}@{team.database.rpartition('@')[2]}/mlflow",
        f"postgresql://mlflow:a/{PASSWORDS['ada']}@127.0.0.1:{free_port()}/mlflow",
    ):
        project.env["MLFLOW_TRACKING_URI"] = uri
        shown.append(project.run(*track, check=False))
        assert shown[-1].returncode == 1, shown[-1].stdout
        assert len(re.findall("^error: ", shown[-1].stderr, re.M)) == 1, shown[-1].stderr
    own = team.new_database("own").replace("mlflow@", f"mlflow:{DATABASE_PASSWORD}@")
    project.env["MLFLOW_TRACKING_URI"] = own
    shown.append(project.run(*track))
    assert "is shared, but artifacts are kept on this machine" in shown[-1].stderr
    shown.append(project.run("reprovision", "leaderboard", "--mlflow"))
    assert "1 run" in shown[-1].stdout

    text = "\n".join([*(done.stdout + done.stderr for done in shown), shown_by_service])
    assert team.server in text
    places = {"the output": text.encode(), "the services": team.kept()}
    for root, _, files in os.walk(project.root):
        places |= {str(Path(root, name)): Path(root, name).read_bytes() for name in files}
    found = [place for place, content in places.items() for s in SECRETS if s.encode() in content]
    assert found == []
