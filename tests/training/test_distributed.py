"""Training in several processes: the same network, the same bytes, whatever is killed."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch
import torchvision
from conftest import MakeProject
from project import Project

from reprovision.core.files import digest_of_file
from reprovision.results.history import read_history

TWO = {"train.processes": 2, "train.epochs": 4}

EVERYTHING = TWO | {
    "train.ema": 0.9,
    "model.dropout": 0.3,
    "model.conv.batch_norm": True,
    "train.augment.shift": 0.1,
    "train.augment.mixup": 0.2,
    "train.accumulate": 2,
    "train.clip_norm": 1.0,
    # 268 training images: the last batch has 4 for three workers and joins the one before
    "train.batch_size": 22,
}
"""Everything that workers could do otherwise than one process."""


def workers_of(process: subprocess.Popen[str]) -> dict[str, psutil.Process]:
    """The workers below a process by their rank."""
    found = psutil.Process(process.pid).children(recursive=True)
    started = [one for one in found if "stages.train" in one.cmdline()]
    return {rank: one for one in started if (rank := one.environ().get("RANK"))}


def wait_for_epochs(project: Project, epochs: int) -> None:
    history = project.root / "results" / "history.csv"
    began = time.monotonic()
    while not history.exists() or len(history.read_text().splitlines()) <= epochs:
        assert time.monotonic() < began + 120
        time.sleep(0.05)


def train(project: Project) -> str:
    done = project.run(*project.stage("train"))
    return done.stdout + done.stderr


def test_two_processes_train_what_one_does(make_project: MakeProject) -> None:
    one, two = make_project(reproduced=True), make_project(reproduced=True, **TWO)
    one.set_params(**{"train.epochs": 4})
    train(one)
    assert "processes 2, " in train(two)
    assert_alike(one, two)


def assert_alike(one: Project, two: Project, tolerance: float = 1e-4) -> None:
    """Two projects have trained the same, but for the rounding of sums."""
    histories = [read_history(made.root / "results" / "history.csv") for made in (one, two)]
    for alone, together in zip(*histories, strict=True):
        assert together.train_loss == pytest.approx(alone.train_loss, rel=tolerance)
        assert together.val_loss == pytest.approx(alone.val_loss, rel=tolerance)
        assert together.train_accuracy == pytest.approx(alone.train_accuracy, abs=0.01)
        assert together.val_accuracy == pytest.approx(alone.val_accuracy, abs=0.01)


def test_what_no_worker_can_do_is_one_sentence_and_not_tried_again(
    make_project: MakeProject,
) -> None:
    project = make_project(reproduced=True, **TWO, **{"train.optimizer": "sgd", "train.lr": 1e9})
    assert project.refused(*project.stage("train")).startswith("training diverged")


def test_another_number_of_workers_than_params_say_is_refused(make_project: MakeProject) -> None:
    project = make_project(reproduced=True, **{"train.processes": 3})
    torchrun = ("torchrun", "--standalone", "--nproc-per-node=1", "-m", "stages.train")
    done = project.run(*torchrun, check=False)
    assert done.returncode
    assert "error: torchrun started 1 workers, and train.processes is 3" in done.stderr


def test_restarts_that_share_a_store_are_refused(make_project: MakeProject) -> None:
    project = make_project(reproduced=True, **{"train.processes": 1})
    torchrun = ("torchrun", "--standalone", "--nproc-per-node=1", "--max-restarts=1")
    done = project.run(*torchrun, "-m", "stages.train", check=False)
    assert done.returncode
    assert "give torchrun TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in its environment" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("rank", ["0", pytest.param("1", marks=pytest.mark.ci), "2"])
def test_a_killed_worker_changes_no_byte(make_project: MakeProject, rank: str) -> None:
    three = EVERYTHING | {"train.processes": 3, "train.epochs": 30}
    undisturbed, killed = (make_project(reproduced=True, **three) for _ in range(2))
    train(undisturbed)
    (killed.root / "results" / "history.csv").unlink()
    running = killed.start(*killed.stage("train"))
    wait_for_epochs(killed, 5)
    workers_of(running)[rank].kill()
    output, _ = running.communicate(timeout=300)
    assert running.returncode == 0
    assert "a worker was killed: all of them start again" in output
    assert int(re.findall(r"training resumed from epoch (\d+)", output)[0]) >= 5
    assert killed.outputs() == undisturbed.outputs()
    assert not list((killed.root / ".resume").iterdir())


@pytest.mark.slow
@pytest.mark.ci
def test_workers_end_with_a_killed_stage_and_the_next_one_resumes(
    make_project: MakeProject,
) -> None:
    undisturbed, killed = (
        make_project(reproduced=True, **(EVERYTHING | {"train.epochs": 200})) for _ in range(2)
    )
    train(undisturbed)
    (killed.root / "results" / "history.csv").unlink()
    running = killed.start(*killed.stage("train"))
    wait_for_epochs(killed, 5)
    workers = workers_of(running)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    _, alive = psutil.wait_procs(workers.values(), timeout=10)
    assert all(one.status() == psutil.STATUS_ZOMBIE for one in alive)
    assert "training resumed from epoch" in train(killed)
    assert killed.outputs() == undisturbed.outputs()


@pytest.mark.slow
def test_processes_share_a_frozen_backbone(make_project: MakeProject, tmp_path: Path) -> None:
    weights = tmp_path / "mobilenet.pth"
    torch.manual_seed(0)
    torch.save(torchvision.models.mobilenet_v3_small().state_dict(), weights)
    frozen = {
        "data.image_size": 32,
        "data.channels": 3,
        "model.name": "mobilenet_v3_small",
        "model.weights": str(weights),
        "model.weights_sha256": digest_of_file(weights),
        "train.freeze": "backbone",
        "train.freeze_epochs": 2,
        "train.epochs": 3,
    }
    one, two = (make_project(**frozen, **{"train.processes": count}) for count in (1, 2))
    for made in (one, two):
        made.repro("train")
    # rounding grows in a deep network
    assert_alike(one, two, 1e-2)


@pytest.fixture
def hosts() -> Iterator[dict[str, str]]:
    """Two network namespaces with their addresses, connected by devices named `wire`."""
    names = {f"{kind}-{os.getpid()}": f"10.77.0.{n}" for n, kind in enumerate("ab", start=1)}
    a, b = names
    # a container may have root, but no rights
    if not shutil.which("ip") or subprocess.run(["ip", "netns", "add", a], check=False).returncode:
        pytest.skip("network namespaces need iproute2 and root")
    ip("netns", "add", b)
    try:
        ip("link", "add", "wire", "netns", a, "type", "veth", "peer", "name", "wire", "netns", b)
        for name, address in names.items():
            ip("-n", name, "addr", "add", f"{address}/24", "dev", "wire")
            for device in ("lo", "wire"):
                ip("-n", name, "link", "set", device, "up")
        yield names
    finally:
        for name in names:
            ip("netns", "delete", name)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


@pytest.mark.slow
@pytest.mark.ci
def test_two_machines_give_the_bytes_of_one(
    make_project: MakeProject, hosts: dict[str, str]
) -> None:
    single, *projects = (
        make_project(reproduced=True, **(EVERYTHING | {"train.epochs": 30})) for _ in range(3)
    )
    train(single)
    running = []
    for rank, (project, (name, address)) in enumerate(zip(projects, hosts.items(), strict=True)):
        (project.root / "results" / "history.csv").unlink()
        project.env |= {"GLOO_SOCKET_IFNAME": "wire", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
        running.append(
            project.start(
                *("ip", "netns", "exec", name, "torchrun", "--nnodes=2", "--nproc-per-node=1"),
                *("--max-restarts=3", "--rdzv-backend=c10d", "--rdzv-endpoint=10.77.0.1:29400"),
                *(f"--rdzv-conf=is_host={int(rank == 0)}", f"--local-addr={address}"),
                *("-m", "stages.train"),
            )
        )
    wait_for_epochs(projects[0], 5)
    # each machine has saved the state
    (second,) = workers_of(running[1]).values()
    second.kill()
    output, _ = running[0].communicate(timeout=300)
    assert running[0].returncode == 0, output
    assert "training resumed from epoch" in output
    running[1].communicate(timeout=300)
    assert projects[0].outputs() == single.outputs()
    assert not list((projects[0].root / ".resume").iterdir())
    # as docs/distributed.md says
    projects[0].run("dvc", "commit", "--force", "train")
    assert "Stage 'train' didn't change" in projects[0].repro("train").stdout
