"""Epochs in MLflow while a long training runs, without ever blocking it."""

import sys
import threading
import time
from queue import SimpleQueue
from typing import Self

from reprovision.core.errors import UserError
from reprovision.core.params import Params
from reprovision.results.history import Epoch
from reprovision.training.callbacks import Callback
from reprovision.training.state import TrainingState

START_AFTER = 10.0
"""Seconds of training before the first call: a shorter one ends before anyone looks, and the track
stage logs the same run."""

CLOSE_TIMEOUT = 10.0
"""Seconds to wait for MLflow when training has ended."""


class LiveLogging(Callback):
    """A callback that logs each epoch to the MLflow run of a key, in a thread of its own.

    As a context manager it also ends the run as FAILED or KILLED where training fails or is
    interrupted; otherwise the run stays open for the track stage. If MLflow can't be used, one
    warning is printed, and training continues.

    Attributes:
        began: when it was made, in milliseconds since 1970.
        epoch_times: end of each epoch so far, in milliseconds since 1970.
    """

    def __init__(self, params: Params, key: str) -> None:
        self.params = params
        self.key = key
        self.began = _now()
        self.epoch_times: dict[int, int] = {}
        self._start_at = time.monotonic() + START_AFTER
        self._queued = 0
        # new epochs; in the end the status of the run, None where training succeeded
        self._queue: SimpleQueue[list[Epoch] | str | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._log, name="live-logging", daemon=True)
        self._has_run = False
        self._warned = False

    def on_epoch_end(self, state: TrainingState) -> None:
        self.epoch_times[state.history[-1].epoch] = _now()
        if time.monotonic() < self._start_at:
            return
        self._queue.put(state.history[self._queued :])
        self._queued = len(state.history)
        if self._thread.ident is None:
            self._thread.start()

    def close(self, status: str | None = None) -> None:
        """Waits, for a bounded time, until all epochs are logged; ends the run with a status."""
        if self._thread.ident is None:
            return
        self._queue.put(status)
        self._thread.join(CLOSE_TIMEOUT)
        if not self._thread.is_alive():
            return
        if status and self._has_run:
            self._warn(
                f"MLflow did not answer within {CLOSE_TIMEOUT:g} s: its run stays open until "
                "`uv run dvc repro` completes it"
            )
        # what else happens in the thread is no matter: the track stage logs what is missing
        self._warned = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.close("FAILED" if issubclass(kind, Exception) else "KILLED")

    def _log(self) -> None:
        try:
            # takes two seconds
            from reprovision.tracking.log_run import LiveRun

            history = self._queue.get()
            assert isinstance(history, list), "the thread starts with the first epochs"
            run = LiveRun(self.params, self.key, self.began, history, self.epoch_times)
            self._has_run = True
            while isinstance(item := self._queue.get(), list):
                run.log(item)
            if item is not None:
                run.end(item)
        except (UserError, OSError) as error:
            self._warn(str(error))

    def _warn(self, message: str) -> None:
        if not self._warned:
            self._warned = True
            print(f"warning: {message}", file=sys.stderr)


def _now() -> int:
    """Milliseconds since 1970, as MLflow has them."""
    return int(time.time() * 1000)
