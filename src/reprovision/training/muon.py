"""Muon, for convolution kernels as well as matrices, in any number format.

Muon takes the momentum of a weight matrix and moves along the nearest orthogonal matrix, so that
all directions are learned at the same pace (Jordan and others, 2024,
https://kellerjordan.github.io/posts/muon/). torch.optim.Muon does the same, but for matrices and in
bfloat16 only, whose rounding is another on each kind of processor.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from reprovision.training.optimizers import Optimizer

NEWTON_SCHULZ_STEPS = 3
"""Of the approximation; torch's default of 5 took longer and learned no better."""

A, B, C = 3.4445, -4.7750, 2.0315
"""Coefficients of a step, from the article."""


class Muon(Optimizer):
    """A kernel (out, in, h, w) is a matrix of one row an output channel.

    Args:
        weights: of two or four dimensions.
        lr: learning rate.
        momentum: Nesterov's.
        dtype: what the orthogonal matrix is computed in.
    """

    def __init__(
        self, weights: Sequence[Tensor], lr: float, momentum: float, dtype: torch.dtype
    ) -> None:
        super().__init__(weights, lr, "momentum")
        self.momentum, self.dtype = momentum, dtype

    def _move(self, gradients: list[Tensor], lr: float) -> None:
        averages = self.memory["momentum"]
        for weight, gradient, average in zip(self.weights, gradients, averages, strict=True):
            average.lerp_(gradient, 1 - self.momentum)
            # kernels are kept channels-last: in that order they are a matrix without being copied
            update = gradient.lerp(average, self.momentum).movedim(1, -1)
            matrix = orthogonalize(update.flatten(1), self.dtype)
            rows, columns = matrix.shape
            rate = lr * math.sqrt(max(1, rows / columns))
            weight.add_(matrix.view(update.shape).movedim(-1, 1), alpha=-rate)


def orthogonalize(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """Approximates the orthogonal matrix nearest to a matrix (rows, columns), by Newton and Schulz.

    The singular values of the result lie around 1, between about 0.5 and 1.5 after enough steps.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    found = (matrix.T if tall else matrix).to(dtype, copy=True)
    found.div_(found.norm().clamp(min=1e-7))
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = found @ found.T
        found = torch.addmm(found, torch.addmm(gram, gram, gram, beta=B, alpha=C), found, beta=A)
    return found.T if tall else found
