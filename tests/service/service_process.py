"""A running `reprovision serve`."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
from project import Project


@dataclass(frozen=True)
class Running:
    """A service in a process of its own.

    Attributes:
        output: of it, on stdout and stderr, from the second line on.
    """

    process: subprocess.Popen[str]
    url: str
    client: httpx.Client

    def stop(self, how: signal.Signals = signal.SIGTERM) -> str:
        """Ends it and returns what it has printed after its first line."""
        os.killpg(self.process.pid, how)
        output, _ = self.process.communicate(timeout=60)
        return output


@contextmanager
def running(project: Project, *arguments: str) -> Iterator[Running]:
    process = project.start("reprovision", "serve", "--port", "0", *arguments)
    assert process.stdout
    first = process.stdout.readline()
    if "http" not in first:
        raise AssertionError(first + process.communicate(timeout=60)[0])
    url = next(word for word in first.split() if word.startswith("http"))
    with httpx.Client(base_url=url, timeout=60) as client:
        try:
            yield Running(process, url, client)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
