"""What training shows while it runs: a bar on a terminal, a line an epoch elsewhere."""

import sys
import time

from tqdm import tqdm

from reprovision.training.history import Epoch
from reprovision.training.loop import Totals, TrainingState, Watcher

REFRESH = 0.2
"""Seconds between two looks at the totals: each look waits for the device."""


class Progress(Watcher):
    """A training watcher that tells loss, accuracy, images/s and time left.

    Args:
        epochs: how many there will be in all.
        done: how many of them an earlier run has finished.
        images: training images an epoch.
    """

    def __init__(self, epochs: int, done: int, images: int) -> None:
        self.epochs = epochs
        self.images = images
        self.bar = tqdm(
            total=epochs * images,
            initial=done * images,
            unit=" images",
            unit_scale=True,
            dynamic_ncols=True,
            leave=False,
            disable=not sys.stderr.isatty(),
        )
        self.seen = done * images
        self.looked = self.epoch_began = time.monotonic()

    def batch_done(self, epoch: int, totals: Totals) -> None:
        now = time.monotonic()
        if self.bar.disable or now - self.looked < REFRESH:
            return
        self.looked = now
        self.bar.set_description(f"epoch {epoch}/{self.epochs}", refresh=False)
        self.bar.set_postfix_str(
            f"loss {totals.mean_loss():.4f}, accuracy {totals.accuracy():.2%}", refresh=False
        )
        self._move_to((epoch - 1) * self.images + totals.images)

    def epoch_done(self, state: TrainingState) -> None:
        epoch = state.history[-1]
        now = time.monotonic()
        rate = self.images / (now - self.epoch_began)
        left = (self.epochs - epoch.epoch) * (now - self.epoch_began)
        self.epoch_began = now
        self._move_to(epoch.epoch * self.images)
        tqdm.write(f"{self._summary(epoch)}, {rate:,.0f} images/s, {left:.0f} s left")
        if epoch.epoch == self.epochs:
            self.bar.close()

    def _move_to(self, seen: int) -> None:
        self.bar.update(seen - self.seen)
        self.seen = seen

    def _summary(self, epoch: Epoch) -> str:
        text = f"epoch {epoch.epoch:>{len(str(self.epochs))}}/{self.epochs}: "
        text += f"train loss {epoch.train_loss:.4f}, accuracy {epoch.train_accuracy:7.2%}"
        if epoch.val_loss is not None:
            text += f"; val loss {epoch.val_loss:.4f}, accuracy {epoch.val_accuracy:7.2%}"
        return text
