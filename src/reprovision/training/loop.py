"""The training loop: from prepared images and params to a trained classifier and its history.

Random state is derived from seed and epoch, and everything else that an epoch starts from is in
`TrainingState`: an interrupted run goes on from its last whole epoch to the same bytes.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from reprovision.core.errors import UserError
from reprovision.core.params import Params
from reprovision.data.augmentation import Augmentation
from reprovision.data.batches import Batches, seed_for
from reprovision.data.dataset import DatasetInfo, Split
from reprovision.models import Classifier, build_model
from reprovision.models.inference import score
from reprovision.training.choices import build_loss, build_optimizers, schedule
from reprovision.training.hardware import (
    autocast,
    be_deterministic,
    choose_device,
    choose_precision,
    set_threads,
)
from reprovision.training.history import Epoch
from reprovision.training.optimizers import Optimizer

VAL_BATCH = 100
"""Images scored at once: enough to fill the processor, few enough for its cache."""


SUMMED = 100
"""Batches whose losses and hits are added up at once; one by one costs a twentieth of a step."""


class Totals:
    """Sums over the batches of an epoch, added up many batches at a time: no step waits for them.

    Attributes:
        images: so far.
    """

    def __init__(self) -> None:
        self.images = 0
        self._loss, self._correct = 0.0, 0
        self._losses: list[Tensor] = []
        self._logits: list[Tensor] = []
        self._labels: list[Tensor] = []

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        self.images += len(labels)
        self._losses.append(loss.detach())
        self._logits.append(logits.detach())
        self._labels.append(labels)
        if len(self._losses) == SUMMED:
            self._add_up()

    def mean_loss(self) -> float:
        self._add_up()
        return self._loss / self.images

    def accuracy(self) -> float:
        self._add_up()
        return self._correct / self.images

    def _add_up(self) -> None:
        if self._losses:
            losses = torch.stack(self._losses).tolist()
            sizes = map(len, self._labels)
            self._loss += sum(loss * size for loss, size in zip(losses, sizes, strict=True))
            hits = torch.cat(self._logits).argmax(1) == torch.cat(self._labels)
            self._correct += int(hits.sum())
            self._losses, self._logits, self._labels = [], [], []


class Watcher:
    """Is told how training goes, and can't change it."""

    def batch_done(self, epoch: int, totals: Totals) -> None:
        """Called after each step; `epoch` counts from 1."""

    def epoch_done(self, state: "TrainingState") -> None:
        """Called when an epoch is trained, scored and part of the history."""


@dataclass
class TrainingState:
    """All that the next epoch starts from.

    Attributes:
        classifier: the weights that are trained.
        optimizers: with what they keep of earlier steps; each weight belongs to one.
        average: exponential moving average of the weights, where `train.ema` asks for one.
        best: weights to keep; with `train.keep: best`, those of the best epoch so far.
        history: the epochs so far.
    """

    classifier: Classifier
    optimizers: list[Optimizer]
    average: Classifier | None
    best: dict[str, Tensor] = field(default_factory=dict)
    history: list[Epoch] = field(default_factory=list)

    @property
    def shipped(self) -> Classifier:
        """The classifier that is scored and kept: the average where there is one."""
        return self.average or self.classifier


def start(params: Params, info: DatasetInfo) -> TrainingState:
    """A fresh classifier and optimiser on the device that the params ask for.

    Raises:
        UserError: the device is not there, or the network doesn't fit the images.
    """
    set_threads(params.train)
    device = choose_device(params.train)
    be_deterministic(params.train, device)
    torch.manual_seed(seed_for(params.seed, 0, "weights"))
    classifier = build_model(params.model, info.shape, len(info.classes), info.mean, info.std)
    classifier.to(device).to(memory_format=torch.channels_last)
    average = copy.deepcopy(classifier) if params.train.ema else None
    return TrainingState(classifier, build_optimizers(params.train, classifier), average)


def describe_hardware(state: TrainingState, params: Params) -> dict[str, str]:
    """What the training runs on: device, number format, CPU threads."""
    device = state.classifier.scale.device
    precision = choose_precision(params.train, device)
    return {
        "device": str(device),
        "precision": str(precision).removeprefix("torch."),
        "threads": str(torch.get_num_threads()),
    }


def train(
    state: TrainingState, train: Split, val: Split, params: Params, watchers: Sequence[Watcher] = ()
) -> None:
    """Trains from where the state is to the last epoch; then `state.shipped` holds what to keep.

    Args:
        state: from `start`, or restored from an interrupted run.
        train, val: prepared splits; val may be empty, unless the best epoch is to be kept.
        watchers: are told of each batch and epoch.

    Raises:
        UserError: the loss is no longer a finite number.
    """
    device = state.classifier.scale.device
    batches = Batches(train, params.train.batch_size, device)
    for epoch in range(len(state.history), params.train.epochs):
        with _explaining_single_images():
            totals = _train_epoch(state, batches, params, epoch, watchers)
        scores = score(state.shipped, val, VAL_BATCH) if len(val) else None
        last = (epoch + 1) * len(batches) - 1
        state.history.append(
            Epoch(
                epoch=epoch + 1,
                train_loss=totals.mean_loss(),
                train_accuracy=totals.accuracy(),
                val_loss=scores.loss if scores else None,
                val_accuracy=scores.accuracy if scores else None,
                lr=params.train.lr * schedule(params.train, last, len(batches)),
            )
        )
        _check_finite(state.history[-1])
        if params.train.keep == "last" or _is_best(state.history):
            weights = state.shipped.state_dict()
            state.best = {name: value.clone() for name, value in weights.items()}
        for watcher in watchers:
            watcher.epoch_done(state)
    state.shipped.load_state_dict(state.best)


def _check_finite(epoch: Epoch) -> None:
    if not math.isfinite(epoch.train_loss + (epoch.val_loss or 0)):
        raise UserError(
            f"training diverged: in epoch {epoch.epoch} the loss is no longer a finite number: "
            "use a lower train.lr, or a longer train.warmup"
        )


@contextmanager
def _explaining_single_images() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise UserError(
            "batch normalisation can't train on a batch of one image, which also the last of an "
            "epoch may be: use another train.batch_size, or model.conv.batch_norm=false"
        ) from error


def _train_epoch(
    state: TrainingState, batches: Batches, params: Params, epoch: int, watchers: Sequence[Watcher]
) -> Totals:
    """One pass over the training images."""
    device = batches.device
    precision = choose_precision(params.train, device)
    classifier = state.classifier.train()
    model = torch.compile(classifier) if params.train.compile else classifier
    loss_function = build_loss(params.train)
    augment = Augmentation(params.train.augment, seed_for(params.seed, epoch, "augmentation"))
    totals = Totals()
    average = state.average and _Average(state.average, classifier, params.train.ema)
    torch.manual_seed(seed_for(params.seed, epoch, "dropout"))
    for index, (pixels, labels) in enumerate(batches.epoch(seed_for(params.seed, epoch, "order"))):
        step = epoch * len(batches) + index
        with autocast(device, precision):
            logits = model(augment(pixels))
        loss = loss_function(logits.float(), labels)
        loss.backward()
        factor = schedule(params.train, step, len(batches))
        for optimizer in state.optimizers:
            optimizer.step(factor)
        if average:
            average.update(step)
        totals.add(loss, logits, labels)
        for watcher in watchers:
            watcher.batch_done(epoch + 1, totals)
    return totals


class _Average:
    """Moves an exponential moving average of the weights along.

    Running statistics of batch normalisation are averaged like the weights; counters are copied.
    """

    def __init__(self, average: Classifier, classifier: Classifier, decay: float) -> None:
        both = zip(average.state_dict().values(), classifier.state_dict().values(), strict=True)
        pairs = list(both)
        self.decay = decay
        self.averaged = [mine for mine, _ in pairs if mine.is_floating_point()]
        self.weights = [theirs for mine, theirs in pairs if mine.is_floating_point()]
        self.counters = [pair for pair in pairs if not pair[0].is_floating_point()]

    def update(self, step: int) -> None:
        """Early on it moves faster, so that it forgets the start."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.averaged, self.weights, 1 - decay)
        for mine, theirs in self.counters:
            mine.copy_(theirs)


def _is_best(history: list[Epoch]) -> bool:
    """Whether the last epoch beats all before: by validation accuracy, then by loss."""
    ranks = [(epoch.val_accuracy or 0, -(epoch.val_loss or 0)) for epoch in history]
    return ranks[-1] == max(ranks) and ranks.index(ranks[-1]) == len(ranks) - 1
