"""Convolutional networks: stages of convolutions and pooling, then fully connected layers."""

import torch
from torch import nn

from reprovision.core.params import ModelParams
from reprovision.models.layers import ACTIVATIONS, head, initialize


def build_cnn(params: ModelParams, shape: tuple[int, int, int], classes: int) -> nn.Sequential:
    """A stage for each of `model.conv.channels`, then the hidden layers and one logit a class.

    Raises:
        RuntimeError: nothing is left of an image after the last stage.
    """
    conv = params.conv
    stages: list[nn.Module] = []
    inputs = shape[0]
    for outputs, kernel, stride in zip(
        conv.channels, conv.per_stage("kernel_size"), conv.per_stage("stride"), strict=True
    ):
        stages += _stage(params, inputs, outputs, kernel, stride)
        inputs = outputs
    with torch.no_grad():
        features = nn.Sequential(*stages).eval()(torch.zeros(1, *shape)).numel()
    network = nn.Sequential(*stages, *head(params, features, classes))
    return initialize(network.train(), params)


def _stage(
    params: ModelParams, inputs: int, outputs: int, kernel: int, stride: int
) -> list[nn.Module]:
    """Convolutions of one width; the first may stride, the last is max-pooled.

    Pooling comes before normalisation and activation: with an activation that rises, like ReLU,
    the result is the same as after them, for a quarter of the work.
    """
    conv = params.conv
    padding = kernel // 2 if conv.padding == "same" else 0
    layers: list[nn.Module] = []
    for index in range(conv.layers_per_stage):
        step = stride if index == 0 else 1
        # batch normalisation brings its own bias
        bias = not conv.batch_norm
        layers.append(nn.Conv2d(inputs, outputs, kernel, step, padding, bias=bias))
        if index == conv.layers_per_stage - 1 and conv.pool > 1:
            layers.append(nn.MaxPool2d(conv.pool))
        if conv.batch_norm:
            layers.append(nn.BatchNorm2d(outputs))
        layers.append(ACTIVATIONS[params.activation]())
        inputs = outputs
    return layers
