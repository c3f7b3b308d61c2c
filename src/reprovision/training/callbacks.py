"""Callbacks of the training loop: progress on the terminal, the history file."""

import sys
import time
from pathlib import Path

from tqdm import tqdm

from reprovision.results.history import Epoch, write_history
from reprovision.training.running_metrics import RunningMetrics
from reprovision.training.state import TrainingState

REFRESH = 0.2
"""Seconds between updates of the progress bar: reading the metrics waits for the device."""

WIDTH = 8
"""Of a column in the table of epochs, at least: six of them fit into 80 characters."""


class Callback:
    """Called by the training loop; must not change the state."""

    def on_epoch_begin(self) -> None:
        """Called before the first step of each epoch."""

    def on_batch_end(self, epoch: int, metrics: RunningMetrics) -> None:
        """Called after each step; `epoch` counts from 1."""

    def on_epoch_end(self, state: TrainingState) -> None:
        """Called when an epoch has been trained, validated and appended to the history."""

    def on_train_end(self, state: TrainingState) -> None:
        """Called after the last epoch, which `train.patience` may have made an earlier one."""


class HistoryWriter(Callback):
    """Rewrites the history file after each epoch, so that `dvc plots` shows it during training."""

    def __init__(self, path: str | Path) -> None:
        self.path = path

    def on_epoch_end(self, state: TrainingState) -> None:
        write_history(self.path, state.history)


class Progress(Callback):
    """Shows a progress bar on a terminal, and prints a table with a row per epoch.

    Args:
        epochs: number of epochs at most.
        done: epochs that an earlier, interrupted run has finished.
        images: training images per epoch.
        workers: that share them.
    """

    def __init__(self, epochs: int, done: int, images: int, workers: int = 1) -> None:
        self.epochs = epochs
        self.images = images
        self.workers = workers
        self.bar = tqdm(
            total=epochs * images,
            initial=done * images,
            unit=" images",
            unit_scale=True,
            dynamic_ncols=True,
            leave=False,
            disable=not sys.stderr.isatty(),
        )
        self.refreshed = self.epoch_start = time.monotonic()
        self._has_header = False

    def on_epoch_begin(self) -> None:
        self.epoch_start = time.monotonic()

    def on_batch_end(self, epoch: int, metrics: RunningMetrics) -> None:
        now = time.monotonic()
        if self.bar.disable or now - self.refreshed < REFRESH:
            return
        self.refreshed = now
        self.bar.set_description(f"epoch {epoch}/{self.epochs}", refresh=False)
        summary = f"loss {metrics.loss():.4f}, accuracy {metrics.accuracy():.2%}"
        self.bar.set_postfix_str(summary, refresh=False)
        images = min(metrics.images * self.workers, self.images)
        self.bar.update((epoch - 1) * self.images + images - self.bar.n)

    def on_epoch_end(self, state: TrainingState) -> None:
        epoch = state.history[-1]
        seconds = time.monotonic() - self.epoch_start
        left = (self.epochs - epoch.epoch) * seconds
        self.bar.update(epoch.epoch * self.images - self.bar.n)
        columns = self._columns(epoch, self.images / seconds, left)
        label = f"epoch {epoch.epoch:>{len(str(self.epochs))}}/{self.epochs}"
        if not self._has_header:
            self._has_header = True
            names = (name.rjust(WIDTH) for name in columns)
            tqdm.write("  ".join([" " * len(label), *names]))
        values = (value.rjust(max(WIDTH, len(name))) for name, value in columns.items())
        tqdm.write("  ".join([label, *values]))

    def on_train_end(self, state: TrainingState) -> None:
        self.bar.close()

    @staticmethod
    def _columns(epoch: Epoch, rate: float, left: float) -> dict[str, str]:
        """What a row shows, by the names above it."""
        columns = {
            "train loss": f"{epoch.train_loss:.4f}",
            "accuracy": f"{epoch.train_accuracy:.2%}",
        }
        if epoch.val_loss is not None:
            columns |= {
                "val loss": f"{epoch.val_loss:.4f}",
                "val accuracy": f"{epoch.val_accuracy:.2%}",
            }
        return columns | {"images/s": f"{rate:,.0f}", "left": f"{left:,.0f} s"}
