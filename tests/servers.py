"""Servers that tests start: real ones, in processes of their own, killed in the end."""

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


@contextmanager
def running_server(
    command: Sequence[str],
    address: str,
    folder: Path,
    environment: Mapping[str, str],
    health: str = "/health",
    seconds: float = 60,
) -> Iterator["subprocess.Popen[bytes]"]:
    """Starts a server; yields its process, which leads a group, when it answers.

    Args:
        address: where it will answer, `http://HOST:PORT`.
        folder: it starts there, and what it prints goes to `PORT.log`.
        health: path that it answers when it is ready.
        seconds: that it may take until then.
    """
    with (folder / f"{address.rpartition(':')[2]}.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for(address, process, seconds, health, Path(log.name))
        yield process
    finally:
        kill_group(process)


@contextmanager
def mlflow_on_sqlite(
    folder: Path, port: int, environment: Mapping[str, str]
) -> Iterator["subprocess.Popen[bytes]"]:
    """Starts MLflow's server on the store in a folder, which may be empty."""
    command = ["mlflow", "server", "--workers", "1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder}/server.db"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    with running_server(command, f"http://127.0.0.1:{port}", folder, environment) as process:
        yield process


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for(
    address: str,
    process: "subprocess.Popen[Any]",
    seconds: float = 60,
    health: str = "/health",
    log: Path | None = None,
) -> None:
    """Returns when a server answers; fails the test where it doesn't, with the end of a log."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(f"{address}{health}", timeout=5).close()
            return
        except OSError:
            said = log.read_text(errors="replace")[-2000:] if log else ""
            assert process.poll() is None, f"the server has ended: {said}"
            assert time.monotonic() < deadline, f"the server does not answer: {said}"
            time.sleep(0.2)


def kill_group(process: "subprocess.Popen[Any]") -> None:
    """Kills a process that leads a group, with all of the group, which may outlive it."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
