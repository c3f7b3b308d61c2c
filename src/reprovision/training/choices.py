"""Optimisers, learning-rate schedules and loss functions by name."""

import math
from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from reprovision.core.params import TrainParams
from reprovision.training.hardware import choose_precision
from reprovision.training.muon import Muon
from reprovision.training.optimizers import SGD, Adam, Optimizer, RMSprop


def build_optimizers(params: TrainParams, model: nn.Module) -> list[Optimizer]:
    """The optimiser of `train.optimizer`; each weight belongs to one.

    Muon is for the matrices and kernels between input and last layer; AdamW takes the rest.
    """
    weights = list(model.parameters())
    lr, decay, betas = params.lr, params.weight_decay, params.betas
    match params.optimizer:
        case "sgd":
            return [SGD(weights, lr, params.momentum, params.nesterov, decay)]
        case "adam":
            return [Adam(weights, lr, betas, decay, decoupled=False)]
        case "adamw":
            return [Adam(weights, lr, betas, decay, decoupled=True)]
        case "rmsprop":
            return [RMSprop(weights, lr, params.momentum, decay)]
        case "muon":
            *inner, _last = [weight for weight in weights if weight.ndim > 1]
            rest = [weight for weight in weights if not any(weight is other for other in inner)]
            adamw = Adam(rest, lr, betas, decay, decoupled=True)
            precision = choose_precision(params, weights[0].device)
            muon = [Muon(inner, params.muon_lr, params.momentum, precision)] if inner else []
            return [*muon, adamw]


def schedule(params: TrainParams, step: int, steps_per_epoch: int) -> float:
    """What the learning rate is multiplied by at a step, counted from 0 over all epochs.

    It is a pure function, so that a resumed run needs no state. All schedules first rise linearly
    over the fraction `train.warmup` of all steps. Then `constant` stays; `step` is multiplied by
    `step_factor` every `step_epochs`; `cosine` falls to zero along half a cosine (Loshchilov and
    Hutter, arXiv:1608.03983); `one_cycle` falls to zero along a line (Smith and Topin,
    arXiv:1708.07120).
    """
    total = params.epochs * steps_per_epoch
    warmup = params.warmup * total
    if step < warmup:
        return (step + 1) / (warmup + 1)
    progress = (step - warmup) / (total - warmup)
    match params.schedule:
        case "constant":
            return 1.0
        case "step":
            return params.step_factor ** (step // (steps_per_epoch * params.step_epochs))
        case "cosine":
            return (1 + math.cos(math.pi * progress)) / 2
        case "one_cycle":
            return 1 - progress


def build_loss(params: TrainParams) -> Callable[[Tensor, Tensor], Tensor]:
    """The training loss: from logits (N, K) and labels (N,), the mean over the batch.

    ``softmax_cross_entropy`` feeds probabilities to a loss that takes logits, as one of the
    tutorials does; it learns more slowly and is here to compare.
    """

    def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
        scores = logits.softmax(1) if params.loss == "softmax_cross_entropy" else logits
        return functional.cross_entropy(scores, labels, label_smoothing=params.label_smoothing)

    return cross_entropy
