"""Whatever is killed, whenever: the next plain run succeeds and gives the same bytes."""

import os
import random
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import project as projects
import pytest
from conftest import MakeProject, shared
from project import ROOT, Project

STAGES = ("prepare", "train", "evaluate", "export", "track")
SIGNALS = (signal.SIGKILL, signal.SIGTERM)


LASTS = {"prepare": 0.3, "train": 1.5, "evaluate": 1.5, "export": 1.0, "track": 2.5}
"""Seconds that a stage of the tiny project takes at least."""


def some_in_ci(seeds: int, in_ci: int) -> list[Any]:
    """Seeds of random kills; .ci/run takes the first of them."""
    return [pytest.param(seed, marks=[pytest.mark.ci] * (seed < in_ci)) for seed in range(seeds)]


@pytest.fixture(scope="session")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, reproduced_template: Project
) -> Iterator[Project]:
    """What the killed experiments would have given without a kill; change nothing in it."""

    def build(root: Path) -> Project:
        project = projects.copy(reproduced_template, root)
        project.set_params(**{"train.lr": 0.01})
        project.commit("params")
        project.repro()
        return project

    yield from shared(tmp_path_factory, "undisturbed", build)


@pytest.mark.slow
@pytest.mark.ci
def test_every_stage_can_be_killed(project: Project, reproduced_template: Project) -> None:
    dice = random.Random(0)
    for number, stage in enumerate(STAGES):
        running = project.start("dvc", "repro")
        _wait_for(running, f"Running stage '{stage}'")
        time.sleep(dice.uniform(0, LASTS[stage]))
        _kill_group(running, SIGNALS[number % 2])
    _run_again(project, "dvc", "repro")
    _assert_whole(project, reproduced_template, several=True)


@pytest.mark.slow
@pytest.mark.ci
def test_training_resumes_after_the_last_whole_epoch(make_project: MakeProject) -> None:
    killed, undisturbed = (make_project(**{"train.epochs": 40}) for _ in range(2))
    undisturbed.repro("train")

    running = killed.start("dvc", "repro", "train")
    _wait_for(running, "epoch  5/40")
    _kill_group(running, signal.SIGKILL)
    output = killed.repro("train").stdout
    found = re.search(r"training resumed from epoch (\d+)", output)
    assert found, output
    assert int(found[1]) >= 5
    assert f"epoch {int(found[1]):>2}/40" not in output
    assert killed.outputs() == undisturbed.outputs()
    assert not list((killed.root / ".resume").iterdir())


@pytest.mark.slow
@pytest.mark.ci
def test_a_stage_that_outlives_its_dvc_does_no_harm(
    make_project: MakeProject, reproduced_template: Project
) -> None:
    project = make_project(**{"train.epochs": 400})
    running = project.start("dvc", "repro", "train")
    _wait_for(running, "epoch   1/400")
    _kill_leader(running, signal.SIGKILL)

    project.set_params(**{"train.epochs": 2})
    done = project.repro("train")
    assert "waiting for another train" in done.stderr
    made, wanted = project.outputs(), reproduced_template.outputs()
    checkpoint = "models/checkpoint.safetensors"
    assert made[checkpoint] == wanted[checkpoint]


@pytest.mark.slow
@pytest.mark.parametrize("seed", some_in_ci(60, 3))
def test_dvc_repro_can_be_killed_at_any_moment(
    project: Project, reproduced_template: Project, seed: int
) -> None:
    dice = random.Random(seed)
    running = project.start("dvc", "repro")
    time.sleep(dice.uniform(0, 25))
    dice.choice((_kill_group, _kill_leader, _kill_stage))(running, dice.choice(SIGNALS))
    _run_again(project, "dvc", "repro")
    _assert_whole(project, reproduced_template)


@pytest.mark.slow
@pytest.mark.parametrize("seed", some_in_ci(10, 1))
def test_a_temporary_experiment_can_be_killed_at_any_moment(
    reproduced: Project, undisturbed: Project, seed: int
) -> None:
    dice = random.Random(seed)
    flags = ("run", "--temp", "-S", "train.lr=0.01", "--name", "again")
    running = reproduced.start("dvc", "exp", *flags)
    time.sleep(dice.uniform(2, 25))
    _kill_group(running, dice.choice(SIGNALS))
    before = reproduced.outputs()

    _run_again(reproduced, "dvc", "exp", *flags, "--force")
    assert reproduced.outputs() == before
    reproduced.exp("apply", "again")
    # brings the receipt of MLflow's run, which no experiment carries
    reproduced.repro()
    _assert_whole(reproduced, undisturbed)
    assert not _duplicate_points(reproduced)


@pytest.mark.slow
@pytest.mark.parametrize("seed", some_in_ci(10, 1))
def test_a_queue_worker_can_be_killed_at_any_moment(
    reproduced: Project, undisturbed: Project, seed: int
) -> None:
    dice = random.Random(seed)
    reproduced.exp("run", "--queue", "-S", "train.lr=0.01", "--name", "again")
    reproduced.run("dvc", "queue", "start")
    time.sleep(dice.uniform(2, 25))
    _kill_all_in(reproduced.root, dice.choice(SIGNALS))

    reproduced.run("dvc", "queue", "remove", "--all", check=False)
    reproduced.exp("run", "--queue", "-S", "train.lr=0.01", "--name", "anew", "--force")
    reproduced.run_queue(workers=1)
    reproduced.exp("apply", "anew")
    # brings the receipt of MLflow's run, which no experiment carries
    reproduced.repro()
    _assert_whole(reproduced, undisturbed)
    assert not _duplicate_points(reproduced)


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("number", SIGNALS)
def test_a_killed_experiment_in_the_workspace_is_repaired_as_the_readme_describes(
    reproduced: Project, number: signal.Signals
) -> None:
    before = reproduced.outputs()
    running = reproduced.start("dvc", "exp", "run", "-S", "train.epochs=400")
    _wait_for(running, "epoch   5/400")
    _kill_group(running, number)
    command = "git checkout --force main"
    assert f"`{command}`" in (ROOT / "README.md").read_text(encoding="utf-8")
    reproduced.run(*command.split())
    assert reproduced.git("branch", "--show-current") == "main"
    assert reproduced.params()["train"]["epochs"] == 2
    reproduced.repro()
    assert reproduced.outputs() == before


@pytest.mark.slow
def test_a_killed_run_resumes_in_the_same_mlflow_run(make_project: MakeProject) -> None:
    # long enough to be logged live
    project = make_project(**{"train.epochs": 1000, "train.batch_size": 5})
    running = project.start("dvc", "repro")
    _wait_for(running, "epoch    1/1000")
    _wait_until((project.root / "mlflow.db").exists)
    _wait_until(lambda: bool(project.runs()))
    assert running.poll() is None, "the run is there while it trains"
    _kill_group(running, signal.SIGKILL)
    assert "training resumed from epoch" in project.repro().stdout
    (run,) = project.runs()
    assert run.info.status == "FINISHED"
    steps = [step for step, _ in project.metric(run, "train_loss")]
    assert sorted(steps) == list(range(1, 1001))


@pytest.mark.slow
def test_leftovers_do_not_grow(project: Project) -> None:
    project.repro("prepare")
    dice = random.Random(0)
    for lr in range(25):
        project.set_params(**{"train.lr": 0.001 * (lr + 1), "train.epochs": 100})
        running = project.start("dvc", "repro", "train")
        _wait_for(running, "epoch   2/100")
        time.sleep(dice.uniform(0, 0.2))
        _kill_group(running, signal.SIGKILL)
    assert len(list((project.root / ".resume").iterdir())) <= 21
    partials = [path.relative_to(project.root) for path in project.root.rglob("*.partial")]
    # the state and the history are rewritten after each epoch
    assert all(path.parts[0] == ".resume" or "history.csv" in path.name for path in partials)


def _run_again(project: Project, *command: str) -> None:
    """Runs a command after a kill.

    DVC may have been killed while it wrote its own lock or dvc.lock, which is not
    atomic; then it refuses to start, and the README says what to delete.
    """
    done = project.run(*command, check=False)
    if done.returncode and "Unable to read RWLock-file" in done.stderr:
        (project.root / ".dvc" / "tmp" / "rwlock").unlink()
        done = project.run(*command)
    if done.returncode and "'./dvc.lock' validation failed" in done.stderr:
        (project.root / "dvc.lock").unlink()
        done = project.run(*command)
    assert done.returncode == 0, done.stdout + done.stderr


def _assert_whole(project: Project, undisturbed: Project, several: bool = False) -> None:
    """Nothing is missing, different or left over."""
    assert project.outputs() == undisturbed.outputs()
    assert "up to date" in project.run("dvc", "status").stdout
    assert not list((project.root / ".resume").glob("*"))
    partials = [path for path in project.root.rglob("*.partial") if ".dvc/tmp" not in str(path)]
    # half a file at a kill may stay; ten minutes later, the next write of that file removes it
    assert len(partials) <= (len(STAGES) if several else 1)
    assert not project.git("status", "--porcelain", "--untracked-files=all", "--", "*.partial")
    assert len(project.runs()) == len(undisturbed.runs())


def _duplicate_points(project: Project) -> list[str]:
    """Runs that have a point of their history twice."""
    histories = {run.info.run_id: project.metric(run, "train_loss") for run in project.runs()}
    return [run for run, points in histories.items() if len({s for s, _ in points}) < len(points)]


def _wait_for(running: "subprocess.Popen[str]", words: str) -> None:
    """Returns when a command prints something; keeps reading, so that its pipe never fills."""
    assert running.stdout is not None
    output = []
    for line in running.stdout:
        output.append(line)
        if words in line:
            threading.Thread(target=running.stdout.read, daemon=True).start()
            return
    raise AssertionError(f"{words!r} was never output:\n{''.join(output)}")


def _kill_group(running: "subprocess.Popen[str]", number: signal.Signals) -> None:
    """Kills DVC and what it started, as a closed terminal or a batch system does."""
    if running.poll() is None:
        os.killpg(running.pid, number)
    running.wait(60)
    _wait_until(lambda: not _group(running.pid))


def _kill_leader(running: "subprocess.Popen[str]", number: signal.Signals) -> None:
    """Kills DVC and leaves its stage running."""
    running.send_signal(number)
    running.wait(60)


def _kill_stage(running: "subprocess.Popen[str]", number: signal.Signals) -> None:
    """Kills the stage and leaves DVC to report it."""
    for pid in _group(running.pid):
        if "stages." in _command(pid):
            _signal(pid, number)
    running.wait(300)


def _kill_all_in(folder: Path, number: signal.Signals) -> None:
    """Kills all processes that work in a folder or below it, as DVC's queue workers do."""
    pids = [pid for pid in _pids() if _works_in(pid, folder)]
    for pid in pids:
        _signal(pid, number)
    _wait_until(lambda: not any(_works_in(pid, folder) for pid in pids))


def _wait_until(done: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "what was killed is still there"
        time.sleep(0.05)


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _group(leader: int) -> list[int]:
    def is_member(pid: int) -> bool:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return False
        return state[0] != "Z" and int(state[2]) == leader

    return [pid for pid in _pids() if is_member(pid)]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def _works_in(pid: int, folder: Path) -> bool:
    try:
        return pid != os.getpid() and Path(f"/proc/{pid}/cwd").readlink().is_relative_to(folder)
    except OSError:
        return False


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
