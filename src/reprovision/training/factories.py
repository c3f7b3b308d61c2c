"""Optimizers, learning-rate schedules and loss functions from params."""

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from reprovision.core.params import Params, TrainParams
from reprovision.models.classifier import Classifier
from reprovision.models.hardware import choose_precision
from reprovision.training.muon import Muon


def build_optimizers(params: Params, model: Classifier) -> list[Optimizer]:
    """The optimizer of `train.optimizer`; every parameter that is trained belongs to exactly one.

    Each group has an `initial_lr`, which the schedule multiplies.
    """
    train = params.train
    parameters = _parameters(params, model)
    lr, decay, betas = train.lr, train.weight_decay, train.betas
    optimizers: list[Optimizer]
    match train.optimizer:
        case "sgd":
            momentum, nesterov = train.momentum, train.nesterov
            sgd = SGD(parameters, lr, momentum, weight_decay=decay, nesterov=nesterov, fused=True)
            optimizers = [sgd]
        case "adam":
            optimizers = [Adam(parameters, lr, betas, weight_decay=decay, fused=True)]
        case "adamw":
            optimizers = [AdamW(parameters, lr, betas, weight_decay=decay, fused=True)]
        case "rmsprop":
            optimizers = [RMSprop(parameters, lr, momentum=train.momentum, weight_decay=decay)]
        case "muon":
            optimizers = _muon_and_adamw(params, [p for p in model.parameters() if p.requires_grad])
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return optimizers


def _parameters(params: Params, model: Classifier) -> list[dict[str, Any]]:
    """The parameters that are trained, in one group; in two where the backbone has its own lr."""
    lr, factor = params.train.lr, params.train.backbone_lr
    network = [p for p in model.network.parameters() if p.requires_grad]
    head = [p for p in model.head.parameters() if p.requires_grad]
    if factor == 1 or not head:
        return [{"params": network + head}]
    groups: list[dict[str, Any]] = [{"params": network, "lr": lr * factor}, {"params": head}]
    return [group for group in groups if group["params"]]


def _muon_and_adamw(params: Params, parameters: list[nn.Parameter]) -> list[Optimizer]:
    """Muon for the matrices and kernels before the last layer, AdamW for the rest."""
    inner = [p for p in parameters if p.ndim in (2, 4)][:-1]
    rest = [p for p in parameters if not any(p is other for other in inner)]
    train = params.train
    adamw = AdamW(rest, train.lr, train.betas, weight_decay=train.weight_decay, fused=True)
    if not inner:
        return [adamw]
    precision = choose_precision(params, parameters[0].device)
    return [Muon(inner, train.muon_lr, train.momentum, precision), adamw]


def schedule(params: TrainParams, step: int, steps_per_epoch: int, epochs: int) -> float:
    """The factor of the learning rate at a step of the optimizer, counted from 0 over some epochs.

    A pure function, so that a resumed run needs no state. All schedules first rise linearly over
    the fraction `train.warmup` of all steps. Then `constant` stays; `step` is multiplied by
    `step_factor` every `step_epochs`; `cosine` falls to zero along half a cosine (Loshchilov and
    Hutter, arXiv:1608.03983); `one_cycle` falls to zero linearly (Smith and Topin,
    arXiv:1708.07120).
    """
    total = epochs * steps_per_epoch
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


def build_loss(
    params: TrainParams, class_weights: Tensor | None = None
) -> Callable[[Tensor, Tensor], Tensor]:
    """The training loss: from logits (N, K) and targets, the mean over the batch.

    Targets are labels int64 (N,), or shares of the classes float32 (N, K), see `Targets.for_loss`.

    With weights (K,) of the classes the loss of each image is multiplied by that of its class.
    Those of torch's cross_entropy would not do: it divides by their sum over the batch, which makes
    batches of a rare class count no more than others, and applies them to smoothed labels, too.

    ``softmax_cross_entropy`` passes probabilities to a loss that expects logits, as one of the
    tutorials does; it learns more slowly and is here for comparison.
    """

    def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
        scores = logits.softmax(1) if params.loss == "softmax_cross_entropy" else logits
        smoothing = params.label_smoothing
        if class_weights is None:
            return functional.cross_entropy(scores, targets, label_smoothing=smoothing)
        losses = functional.cross_entropy(
            scores, targets, reduction="none", label_smoothing=smoothing
        )
        weights = class_weights.to(logits.device)
        return (losses * (weights[targets] if targets.ndim == 1 else targets @ weights)).mean()

    return cross_entropy
