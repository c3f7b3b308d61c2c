"""Workers that fail, alone or all of them, and a launcher that is killed."""

import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

LAUNCH = """
import sys
from reprovision.core.stage import handle_errors
from reprovision.training.launch import launch
sys.exit(handle_errors(lambda: launch(2, "-c", {worker!r})))
"""

WORKER = """
import time
{before}
from torch import distributed
from reprovision.core.errors import UserError
from reprovision.core.stage import handle_errors
from reprovision.training.launch import connect

def work():
    with connect(2) as workers:
        if workers.rank == {failing}:
            raise UserError("the disk is full")
        distributed.barrier()

status = handle_errors(work)
# a worker that has loaded many libraries takes its time to end
time.sleep(1)
raise SystemExit(status)
"""


def start(
    environment: Mapping[str, str], failing: int | None = None, before: str = ""
) -> "subprocess.Popen[str]":
    """Starts two workers, of which one may fail."""
    worker = WORKER.format(before=before, failing=failing)
    return subprocess.Popen(
        [sys.executable, "-c", LAUNCH.format(worker=worker)],
        env={**environment, "PYTHONPATH": str(Path(__file__).parents[2] / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("failing", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_worker_that_fails_alone_ends_all_of_them_with_its_message(
    environment: dict[str, str], failing: int
) -> None:
    running = start(environment, failing)
    output, _ = running.communicate(timeout=120)
    assert running.returncode == 1
    assert output == "error: the disk is full\n"


@pytest.mark.slow
def test_what_keeps_workers_from_connecting_is_named(environment: dict[str, str]) -> None:
    running = start(environment | {"GLOO_SOCKET_IFNAME": "nope"})
    output, _ = running.communicate(timeout=120)
    assert running.returncode == 1
    assert output.startswith("error: the workers can't reach each other (")
    assert "Unable to find address for: nope" in output
    assert output.count("error: ") == 1


def test_workers_end_although_their_launcher_is_killed_before_they_connect(
    environment: dict[str, str],
) -> None:
    running = start(environment, before="time.sleep(3)")
    launcher = psutil.Process(running.pid)
    while len(workers := launcher.children()) < 2:
        assert running.poll() is None
        time.sleep(0.05)
    running.kill()
    running.wait()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert all(one.status() == psutil.STATUS_ZOMBIE for one in alive)
