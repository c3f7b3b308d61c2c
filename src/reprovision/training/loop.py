"""The training loop: from prepared images and params to a trained classifier and its history.

Random state is derived from seed and epoch, and everything else that an epoch starts from is in
`TrainingState`: an interrupted run resumes after its last complete epoch and ends with the same
bytes.
"""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from reprovision.core.errors import UserError
from reprovision.core.params import Params
from reprovision.data.augmentation import Augmentation, check_channels, is_augmented
from reprovision.data.batches import Batches, balanced_weights, seed_for
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
from reprovision.models.workers import SINGLE, Workers
from reprovision.results.history import Epoch, has_stalled, kept_epoch
from reprovision.training.callbacks import Callback
from reprovision.training.ema import EMA
from reprovision.training.factories import build_loss, build_optimizers, schedule
from reprovision.training.phases import Phase, phases
from reprovision.training.running_metrics import RunningMetrics
from reprovision.training.state import TrainingState

VAL_BATCH = 100
"""Images per validation batch: enough to use all cores, few enough for the processor's cache."""


def start(params: Params, info: DatasetInfo, workers: Workers = SINGLE) -> TrainingState:
    """A new model with its optimizers, on the device that the params ask for.

    Raises:
        UserError: the device is not available, or network or augmentation do not fit the images.
    """
    check_channels(params.train.augment, info.shape[0])
    set_threads(params, workers.local_count)
    device = choose_device(params)
    if workers.count > 1 and device.type == "mps":
        raise UserError("several train.processes can't share an MPS device: use train.device=cpu")
    if params.train.compile:
        require_compiler(device)
    set_deterministic(device)
    torch.manual_seed(seed_for(params.seed, 0, "weights"))
    classifier = build_model(
        params.model, info.shape, len(info.classes), info.mean, info.std, pretrained=True
    )
    # a backbone that learns later belongs to the optimizers from the start
    classifier.network.requires_grad_(not phases(params.train)[-1].is_frozen)
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
    workers: Workers = SINGLE,
) -> None:
    """Trains from the state's last epoch to the end; then `state.saved_model` is the result.

    Args:
        state: from `start`, or restored from an interrupted run.
        train, val: prepared splits; val may be empty, unless `train.keep` or `train.patience`
            need it.
        callbacks: called after each batch and epoch, in this process.
        workers: that train the same state together, each in a process of its own.

    Raises:
        UserError: the loss is not finite, batch normalization gets a batch of one image, the
            network has an operation that is not deterministic on the device, there are no
            validation images to find the best epoch by, or too few images for the workers.
    """
    if not len(val) and (params.train.keep == "best" or params.train.patience):
        raise UserError(
            "the data have no validation images, which train.keep=best and train.patience need: "
            "set train.keep=last and train.patience=null, or add images"
        )
    if workers.count > 1 and len(train) < 2 * workers.count:
        raise UserError(
            f"train.processes={workers.count} needs at least two training images for each, and "
            f"there are {len(train)}: set it lower, or add images"
        )
    for phase in phases(params.train):
        if len(state.history) < phase.end:
            _train_phase(state, train, val, params, phase, callbacks, workers)
    for callback in callbacks:
        callback.on_train_end(state)
    state.saved_model.load_state_dict(state.best)


def _train_phase(
    state: TrainingState,
    train: Split,
    val: Split,
    params: Params,
    phase: Phase,
    callbacks: Sequence[Callback],
    workers: Workers,
) -> None:
    """Trains the epochs of a phase that are left, or until `train.patience` has run out."""
    state.classifier.network.requires_grad_(not phase.is_frozen)
    if len(state.history) == phase.start:
        # each phase starts anew; fused SGD also refuses momenta of the head alone
        for optimizer in state.optimizers:
            optimizer.state.clear()
    if phase.is_frozen and not is_augmented(params.train.augment):
        # they are the same in each epoch
        train, val = (compute_features(state.classifier, part, workers) for part in (train, val))
    balance, weights = params.train.balance, balanced_weights(train.labels)
    drawn, weighted = (weights if balance == name else None for name in ("sampler", "loss"))
    size, device = params.train.batch_size, state.classifier.device
    batches = Batches(train, size, device, drawn, workers.rank, workers.count)
    loss_function = build_loss(params.train, weighted)
    for epoch in range(len(state.history), phase.end):
        if has_stalled(state.history, params.train.patience, phases(params.train)[-1].start):
            return
        for callback in callbacks:
            callback.on_epoch_begin()
        with _translate_errors():
            metrics = _train_epoch(
                state, batches, loss_function, params, phase, epoch, callbacks, workers
            )
        scores = score(state.saved_model, val, VAL_BATCH, workers) if len(val) else None
        steps = batches.steps(params.train.accumulate)
        last_step = (epoch + 1 - phase.start) * steps - 1
        state.history.append(
            Epoch(
                epoch=epoch + 1,
                train_loss=metrics.loss(),
                train_accuracy=metrics.accuracy(),
                val_loss=scores.loss if scores else None,
                val_accuracy=scores.accuracy if scores else None,
                lr=params.train.lr * schedule(params.train, last_step, steps, phase.epochs),
            )
        )
        _check_finite(state.history[-1])
        if kept_epoch(state.history, params.train.keep) is state.history[-1]:
            state.best = copy.deepcopy(state.saved_model.state_dict())
        for callback in callbacks:
            callback.on_epoch_end(state)


def _train_epoch(
    state: TrainingState,
    batches: Batches,
    loss_function: Callable[[Tensor, Tensor], Tensor],
    params: Params,
    phase: Phase,
    epoch: int,
    callbacks: Sequence[Callback],
    workers: Workers,
) -> RunningMetrics:
    """One pass over the training images."""
    precision = choose_precision(params, batches.device)
    model = state.classifier.train()
    if params.train.freeze == "backbone":
        # the statistics of batch normalization stay, too, also when all layers are trained: see
        # `phases`
        model.network.eval()
    wrapped = workers.wrap(model)
    forward = torch.compile(wrapped) if params.train.compile else wrapped
    augmentation, mixing, dropout = (
        seed_for(params.seed, epoch, workers.purpose(purpose))
        for purpose in ("augmentation", "mixing", "dropout")
    )
    augment = Augmentation(params.train.augment, augmentation)
    mix = Mixing(params.train.augment, mixing)
    metrics = RunningMetrics()
    torch.manual_seed(dropout)
    shuffled = batches.epoch(seed_for(params.seed, epoch, "order"))
    accumulate, steps = params.train.accumulate, batches.steps(params.train.accumulate)
    for index, (pixels, labels) in enumerate(shuffled):
        # outside of autocast: places in an image need more digits than bfloat16 has
        mixed, targets = mix(augment(pixels), labels)
        is_last = (index + 1) % accumulate == 0 or index + 1 == len(batches)
        with workers.averaging(wrapped, now=is_last):
            with autocast(batches.device, precision):
                logits = forward(mixed)
            loss = loss_function(logits.float(), targets.for_loss(logits.shape[1]))
            # summed over a step's batches and averaged over the workers, the mean over its images
            share = workers.count * len(labels) / batches.step_size(index, accumulate)
            (loss if share == 1 else loss * share).backward()
        if is_last:
            step = epoch * steps + index // accumulate
            factor = schedule(params.train, step - phase.start * steps, steps, phase.epochs)
            _update_parameters(state, params, factor)
            if state.ema:
                state.ema.update(step)
        metrics.add(loss, logits, targets.dominant)
        for callback in callbacks:
            callback.on_batch_end(epoch + 1, metrics)
    metrics.reduce(workers)
    workers.average_statistics(model)
    if state.ema:
        workers.average_statistics(state.ema.module)
    return metrics


def _update_parameters(state: TrainingState, params: Params, factor: float) -> None:
    """One step of all optimizers, at a factor of their learning rates."""
    if params.train.clip_norm is not None:
        groups = [group for optimizer in state.optimizers for group in optimizer.param_groups]
        clip_grad_norm_([p for group in groups for p in group["params"]], params.train.clip_norm)
    for optimizer in state.optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        optimizer.step()
        optimizer.zero_grad()


def _check_finite(epoch: Epoch) -> None:
    if not math.isfinite(epoch.train_loss + (epoch.val_loss or 0)):
        raise UserError(
            f"training diverged: the loss of epoch {epoch.epoch} is not finite: "
            "use a lower train.lr, or a longer train.warmup"
        )


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Turns what torch says of batches and networks that it can't train into a UserError."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise UserError(
            "batch normalization cannot train on a batch of one image, which may be the last of "
            "an epoch: use another train.batch_size"
        ) from error
    except RuntimeError as error:
        if "deterministic implementation" not in str(error):
            raise
        raise UserError(
            "the network has an operation that gives other results each time on this device: use "
            "another model.name, or train.device=cpu"
        ) from error
