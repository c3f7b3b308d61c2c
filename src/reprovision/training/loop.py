"""The training loop: from prepared images and params to a trained classifier and its history.

Random state is derived from seed and epoch, and everything else that an epoch starts from is in
`TrainingState`: an interrupted run resumes after its last complete epoch and ends with the same
bytes.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from reprovision.core.errors import UserError
from reprovision.core.params import Params
from reprovision.data.augmentation import Augmentation, check_channels, is_augmented
from reprovision.data.batches import Batches, seed_for
from reprovision.data.dataset import DatasetInfo, Split
from reprovision.data.mixing import Mixing
from reprovision.models.classifier import build_model
from reprovision.models.hardware import (
    autocast,
    choose_device,
    choose_precision,
    require_compiler,
    set_deterministic,
    set_threads,
)
from reprovision.models.inference import compute_features, score
from reprovision.results.history import Epoch, kept_epoch
from reprovision.training.callbacks import Callback
from reprovision.training.ema import EMA
from reprovision.training.factories import build_loss, build_optimizers, schedule
from reprovision.training.running_metrics import RunningMetrics
from reprovision.training.state import TrainingState

VAL_BATCH = 100
"""Images per validation batch: enough to use all cores, few enough for the processor's cache."""


def start(params: Params, info: DatasetInfo) -> TrainingState:
    """A new model with its optimizers, on the device that the params ask for.

    Raises:
        UserError: the device is not available, or network or augmentation do not fit the images.
    """
    check_channels(params.train.augment, info.shape[0])
    set_threads(params)
    device = choose_device(params)
    if params.train.compile:
        require_compiler(device)
    set_deterministic(device)
    torch.manual_seed(seed_for(params.seed, 0, "weights"))
    classifier = build_model(
        params.model, info.shape, len(info.classes), info.mean, info.std, pretrained=True
    )
    classifier.network.requires_grad_(params.train.freeze == "none")
    classifier.to(device).to(memory_format=torch.channels_last)
    optimizers = build_optimizers(params, classifier)
    ema = EMA(classifier, params.train.ema) if params.train.ema else None
    return TrainingState(classifier, optimizers, ema)


def train(
    state: TrainingState,
    train: Split,
    val: Split,
    params: Params,
    callbacks: Sequence[Callback] = (),
) -> None:
    """Trains from the state's last epoch to the end; then `state.saved_model` is the result.

    Args:
        state: from `start`, or restored from an interrupted run.
        train, val: prepared splits; val may be empty, unless the best epoch is to be kept.
        callbacks: called after each batch and epoch.

    Raises:
        UserError: the loss is not finite, or batch normalization gets a batch of one image.
    """
    if params.train.freeze == "backbone" and not is_augmented(params.train.augment):
        # they are the same in each epoch
        train, val = (compute_features(state.classifier, split) for split in (train, val))
    batches = Batches(train, params.train.batch_size, state.classifier.device)
    for epoch in range(len(state.history), params.train.epochs):
        with _translate_batch_norm_errors():
            metrics = _train_epoch(state, batches, params, epoch, callbacks)
        scores = score(state.saved_model, val, VAL_BATCH) if len(val) else None
        last_step = (epoch + 1) * len(batches) - 1
        state.history.append(
            Epoch(
                epoch=epoch + 1,
                train_loss=metrics.loss(),
                train_accuracy=metrics.accuracy(),
                val_loss=scores.loss if scores else None,
                val_accuracy=scores.accuracy if scores else None,
                lr=params.train.lr * schedule(params.train, last_step, len(batches)),
            )
        )
        _check_finite(state.history[-1])
        if kept_epoch(state.history, params.train.keep) is state.history[-1]:
            state.best = copy.deepcopy(state.saved_model.state_dict())
        for callback in callbacks:
            callback.on_epoch_end(state)
    state.saved_model.load_state_dict(state.best)


def _train_epoch(
    state: TrainingState,
    batches: Batches,
    params: Params,
    epoch: int,
    callbacks: Sequence[Callback],
) -> RunningMetrics:
    """One pass over the training images."""
    precision = choose_precision(params, batches.device)
    model = state.classifier.train()
    if params.train.freeze == "backbone":
        # the statistics of batch normalization stay, too
        model.network.eval()
    forward = torch.compile(model) if params.train.compile else model
    loss_function = build_loss(params.train)
    augment = Augmentation(params.train.augment, seed_for(params.seed, epoch, "augmentation"))
    mix = Mixing(params.train.augment, seed_for(params.seed, epoch, "mixing"))
    metrics = RunningMetrics()
    torch.manual_seed(seed_for(params.seed, epoch, "dropout"))
    shuffled = batches.epoch(seed_for(params.seed, epoch, "order"))
    for step, (pixels, labels) in enumerate(shuffled, start=epoch * len(batches)):
        # outside of autocast: places in an image need more digits than bfloat16 has
        mixed, targets = mix(augment(pixels), labels)
        with autocast(batches.device, precision):
            logits = forward(mixed)
        loss = loss_function(logits.float(), targets.for_loss(logits.shape[1]))
        loss.backward()
        factor = schedule(params.train, step, len(batches))
        for optimizer in state.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
            optimizer.step()
            optimizer.zero_grad()
        if state.ema:
            state.ema.update(step)
        metrics.add(loss, logits, targets.dominant)
        for callback in callbacks:
            callback.on_batch_end(epoch + 1, metrics)
    return metrics


def _check_finite(epoch: Epoch) -> None:
    if not math.isfinite(epoch.train_loss + (epoch.val_loss or 0)):
        raise UserError(
            f"training diverged: the loss of epoch {epoch.epoch} is not finite: "
            "use a lower train.lr, or a longer train.warmup"
        )


@contextmanager
def _translate_batch_norm_errors() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise UserError(
            "batch normalization cannot train on a batch of one image, which may be the last of "
            "an epoch: use another train.batch_size"
        ) from error
