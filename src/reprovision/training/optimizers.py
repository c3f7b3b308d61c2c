"""What moves the weights: SGD, Adam, AdamW and RMSprop, in torch's own arithmetic.

The classes of torch.optim import torch's compiler at their first use, which takes a second and
150 MiB, and spend a tenth of a millisecond in each step. Here the functions behind them are called
instead, fused where torch has it: one kernel for all weights.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.rmsprop import rmsprop
from torch.optim.sgd import sgd

EPSILON = 1e-8
"""Keeps what is divided by from zero; torch's default."""


class Optimizer(ABC):
    """Moves weights along their gradients.

    Attributes:
        weights: that it moves.
        lr: learning rate, before any schedule.
        memory: what it keeps of earlier steps, by name, one tensor a weight: all that an
            interrupted training needs to go on.
    """

    def __init__(self, weights: Sequence[Tensor], lr: float, *kept: str) -> None:
        self.weights = list(weights)
        self.lr = lr
        self.memory = {name: [torch.zeros_like(w) for w in self.weights] for name in kept}

    def step(self, factor: float = 1.0) -> None:
        """Moves all weights, with `factor` times the learning rate, and clears their gradients."""
        gradients = [weight.grad for weight in self.weights if weight.grad is not None]
        assert len(gradients) == len(self.weights), "every weight takes part"
        with torch.no_grad():
            self._move(gradients, self.lr * factor)
        for weight in self.weights:
            weight.grad = None

    @abstractmethod
    def _move(self, gradients: list[Tensor], lr: float) -> None:
        """Moves the weights by gradients in the same order."""


class SGD(Optimizer):
    """Gradient descent with momentum, Nesterov's if wanted."""

    def __init__(
        self,
        weights: Sequence[Tensor],
        lr: float,
        momentum: float,
        nesterov: bool,
        weight_decay: float,
    ) -> None:
        super().__init__(weights, lr, *(["momentum"] if momentum else []))
        self.momentum, self.nesterov, self.weight_decay = momentum, nesterov, weight_decay

    def _move(self, gradients: list[Tensor], lr: float) -> None:
        sgd(
            self.weights,
            gradients,
            list(self.memory.get("momentum", [])),
            fused=True,
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            lr=lr,
            dampening=0,
            nesterov=self.nesterov,
            maximize=False,
        )


class Adam(Optimizer):
    """Adam (Kingma and Ba, arXiv:1412.6980).

    Args:
        decoupled: AdamW, whose weight decay is apart from the gradients (Loshchilov and Hutter,
            arXiv:1711.05101).
    """

    def __init__(
        self,
        weights: Sequence[Tensor],
        lr: float,
        betas: tuple[float, float],
        weight_decay: float,
        decoupled: bool,
    ) -> None:
        super().__init__(weights, lr, "average", "square")
        self.memory["step"] = _counters(self.weights)
        self.betas, self.weight_decay, self.decoupled = betas, weight_decay, decoupled

    def _move(self, gradients: list[Tensor], lr: float) -> None:
        adam(
            self.weights,
            gradients,
            self.memory["average"],
            self.memory["square"],
            [],
            self.memory["step"],
            fused=True,
            decoupled_weight_decay=self.decoupled,
            amsgrad=False,
            beta1=self.betas[0],
            beta2=self.betas[1],
            lr=lr,
            weight_decay=self.weight_decay,
            eps=EPSILON,
            maximize=False,
        )


class RMSprop(Optimizer):
    """RMSprop (Tieleman and Hinton, 2012, lecture 6.5) with momentum."""

    def __init__(
        self, weights: Sequence[Tensor], lr: float, momentum: float, weight_decay: float
    ) -> None:
        super().__init__(weights, lr, "square", *(["momentum"] if momentum else []))
        self.memory["step"] = _counters(self.weights)
        self.momentum, self.weight_decay = momentum, weight_decay

    def _move(self, gradients: list[Tensor], lr: float) -> None:
        rmsprop(
            self.weights,
            gradients,
            self.memory["square"],
            [],
            self.memory.get("momentum", []),
            self.memory["step"],
            lr=lr,
            alpha=0.99,
            eps=EPSILON,
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            centered=False,
        )


def _counters(weights: Sequence[Tensor]) -> list[Tensor]:
    """Steps taken, one number a weight, where torch's functions look for them."""
    return [torch.zeros((), dtype=torch.float32, device=weight.device) for weight in weights]
