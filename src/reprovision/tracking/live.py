"""Epochs in MLflow while a long training runs, without ever holding it up."""

import json
import os
import queue
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from reprovision.core.params import Params
from reprovision.training.history import Epoch
from reprovision.training.loop import TrainingState, Watcher

PATIENCE = 10
"""Seconds to wait for MLflow when training has ended."""

SOURCES = str(Path(__file__).resolve().parents[2])
"""Where the running package lies, which need not be the installed one."""


class LiveRun(Watcher):
    """A training watcher that writes each epoch to the run of the given key.

    A process of its own (`following.py`) talks to MLflow, whose import takes two seconds and
    200 MiB, and a thread talks to that process. Both start with the first epoch that ends after
    `after` seconds: a shorter training is over before anyone looks, and the track stage writes the
    same record anyway. If MLflow is away, one warning says so.
    """

    def __init__(self, params: Params, key: str, after: float = 5.0) -> None:
        self.params = params
        self.key = key
        self.start_at = time.monotonic() + after
        self.histories: queue.SimpleQueue[list[Epoch] | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._send_all, daemon=True)
        self.follower: subprocess.Popen[str] | None = None

    def epoch_done(self, state: TrainingState) -> None:
        if time.monotonic() < self.start_at:
            return
        self.histories.put(list(state.history))
        if self.thread.ident is None:
            self.thread.start()

    def close(self) -> None:
        """Waits, for a bounded time, until what was told is written."""
        if self.thread.ident is not None:
            self.histories.put(None)
            self.thread.join(PATIENCE)
        if self.follower:
            self.follower.kill()

    def _send_all(self) -> None:
        """Sends each epoch once, and waits until the last one is written."""
        self.follower = subprocess.Popen(
            [sys.executable, "-m", "reprovision.tracking.following", self.key],
            env={**os.environ, "PYTHONPATH": SOURCES},
            stdin=subprocess.PIPE,
            text=True,
        )
        # it ends early where MLflow is away
        with suppress(BrokenPipeError), self.follower:
            self._send(self.params.model_dump_json())
            sent = 0
            while (history := self.histories.get()) is not None:
                self._send(json.dumps([asdict(epoch) for epoch in history[sent:]]))
                sent = len(history)

    def _send(self, line: str) -> None:
        assert self.follower and self.follower.stdin
        self.follower.stdin.write(line + "\n")
        self.follower.stdin.flush()
