"""Multi-layer perceptrons: fully connected layers, e.g. 784-512-256-10."""

from math import prod

from torch import nn

from reprovision.core.params import ModelParams
from reprovision.models.layers import head, initialize


def build_mlp(params: ModelParams, shape: tuple[int, int, int], classes: int) -> nn.Sequential:
    """The hidden layers of `model.hidden`, then one logit per class; `model.conv` is not used."""
    return initialize(nn.Sequential(*head(params, prod(shape), classes)), params)
