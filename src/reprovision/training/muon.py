"""Muon, for matrices and convolution kernels in any floating-point format.

Muon orthogonalizes the momentum of each matrix, so that all directions are learned at the same
pace (Jordan and others, 2024, https://kellerjordan.github.io/posts/muon/).
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

NEWTON_SCHULZ_STEPS = 3
"""torch's default of 5 was slower and not more accurate."""

A, B, C = 3.4445, -4.7750, 2.0315
"""Coefficients of a Newton-Schulz step, from the article."""


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum; a kernel (out, in, h, w) is a matrix (out, h * w * in).

    torch.optim.Muon accepts matrices only, and computes in bfloat16 only, whose rounding differs
    between processors.

    Args:
        params: parameters of two or four dimensions.
        lr: learning rate.
        momentum: decay of the gradients' moving average.
        dtype: format in which the momentum is orthogonalized.
    """

    def __init__(
        self, params: Iterable[nn.Parameter], lr: float, momentum: float, dtype: torch.dtype
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})
        self.dtype = dtype

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Updates all parameters that have a gradient."""
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    self._update(param, param.grad, group["lr"], group["momentum"])

    def _update(self, param: Tensor, gradient: Tensor, lr: float, momentum: float) -> None:
        state = self.state[param]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(param)
        buffer = state["momentum_buffer"].lerp_(gradient, 1 - momentum)
        # kernels are in channels-last order: with the channels last, flatten does not copy
        update = gradient.lerp(buffer, momentum).movedim(1, -1)
        matrix = orthogonalize(update.flatten(1), self.dtype)
        rows, columns = matrix.shape
        scale = math.sqrt(max(1, rows / columns))
        param.add_(matrix.view(update.shape).movedim(-1, 1), alpha=-lr * scale)


def orthogonalize(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """Approximates the orthogonal matrix nearest to a matrix (rows, columns), by Newton-Schulz.

    The singular values of the result lie around 1, between about 0.5 and 1.5 after enough steps.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    result = (matrix.T if tall else matrix).to(dtype, copy=True)
    result.div_(result.norm().clamp(min=1e-7))
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = result @ result.T
        step = torch.addmm(gram, gram, gram, beta=B, alpha=C)
        result = torch.addmm(result, step, result, beta=A)
    return result.T if tall else result
