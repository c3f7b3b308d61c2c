"""Convolutional networks: stages of convolutions, each halved by max-pooling, then an MLP."""

import torch
from torch import nn

from reprovision.core.params import ModelParams
from reprovision.models.layers import ACTIVATIONS, head, initialize


def build_cnn(params: ModelParams, shape: tuple[int, int, int], classes: int) -> nn.Sequential:
    """A stage for each of `model.conv.channels`, then the hidden layers and one logit a class.

    Raises:
        RuntimeError: nothing is left of an image after the last stage.
    """
    stages: list[nn.Module] = []
    inputs = shape[0]
    for outputs in params.conv.channels:
        stages += _stage(params, inputs, outputs)
        inputs = outputs
    with torch.no_grad():
        features = nn.Sequential(*stages).eval()(torch.zeros(1, *shape)).numel()
    network = nn.Sequential(*stages, *head(params, features, classes))
    return initialize(network.train(), params)


def _stage(params: ModelParams, inputs: int, outputs: int) -> list[nn.Module]:
    """Convolutions of the same width with their activations, then 2x2 max-pooling."""
    conv = params.conv
    layers: list[nn.Module] = []
    for _ in range(conv.layers_per_stage):
        layers.append(
            # batch normalisation brings its own bias
            nn.Conv2d(
                inputs, outputs, conv.kernel_size, padding=conv.padding, bias=not conv.batch_norm
            )
        )
        if conv.batch_norm:
            layers.append(nn.BatchNorm2d(outputs))
        layers.append(ACTIVATIONS[params.activation]())
        inputs = outputs
    return [*layers, nn.MaxPool2d(2)]
