"""Muon for convolution kernels as well as matrices.

Muon takes the momentum of a weight matrix and moves along the nearest orthogonal matrix, so that
all directions are learned at the same pace (Jordan and others, 2024,
https://kellerjordan.github.io/posts/muon/).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

NEWTON_SCHULZ_STEPS = 3
"""Of the approximation; torch's default of 5 took longer and learned no better."""


class Muon(torch.optim.Muon):
    """torch's Muon, to which a kernel (out, in, h, w) is a matrix of one row an output channel."""

    def __init__(self, weights: Sequence[nn.Parameter], lr: float, momentum: float) -> None:
        self.weights = list(weights)
        matrices = [nn.Parameter(_as_matrix(weight.detach())) for weight in weights]
        for matrix, weight in zip(matrices, weights, strict=True):
            assert matrix.data_ptr() == weight.data_ptr(), "a matrix shares its weight's memory"
        super().__init__(
            matrices, lr, weight_decay=0, momentum=momentum, ns_steps=NEWTON_SCHULZ_STEPS
        )

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Moves the weights by their gradients."""
        for matrix, weight in zip(self.param_groups[0]["params"], self.weights, strict=True):
            matrix.grad = None if weight.grad is None else _as_matrix(weight.grad)
        super().step(closure)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the weights' gradients."""
        for weight in self.weights:
            weight.grad = None


def _as_matrix(weight: Tensor) -> Tensor:
    # kernels are kept channels-last: in that order they are a matrix without being copied
    return weight if weight.ndim == 2 else weight.permute(0, 2, 3, 1).flatten(1)
