"""Epochs in MLflow while a long training runs, without ever holding it up."""

import queue
import sys
import threading
import time

from reprovision.core.params import Params
from reprovision.training.history import Epoch
from reprovision.training.loop import TrainingState, Watcher

PATIENCE = 10
"""Seconds to wait for MLflow when training has ended."""


class LiveRun(Watcher):
    """A training watcher that writes each epoch to the run of the given key.

    A thread of its own talks to MLflow. It starts with the first epoch that ends after
    `after` seconds: a shorter training is over before anyone looks, and the track stage writes
    the same record anyway. If MLflow is away, one warning says so.
    """

    def __init__(self, params: Params, key: str, after: float = 5.0) -> None:
        self.params = params
        self.key = key
        self.start_at = time.monotonic() + after
        self.histories: queue.SimpleQueue[list[Epoch] | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._write_all, daemon=True)

    def epoch_done(self, state: TrainingState) -> None:
        if time.monotonic() < self.start_at:
            return
        self.histories.put(list(state.history))
        if not self.thread.is_alive() and self.thread.ident is None:
            self.thread.start()

    def close(self) -> None:
        """Waits, for a bounded time, until what was told is written."""
        if self.thread.ident is not None:
            self.histories.put(None)
            self.thread.join(PATIENCE)

    def _write_all(self) -> None:
        # two seconds to import, beside the training and not before it
        from reprovision.core.errors import UserError
        from reprovision.tracking.record import write_epochs

        while (history := self.histories.get()) is not None:
            try:
                write_epochs(self.params, self.key, history)
            except UserError as error:
                print(f"warning: {error}", file=sys.stderr)
                return
