"""Convolutional networks: stages of convolutions and pooling, then fully connected layers."""

import torch
from torch import nn

from reprovision.core.params import PER_STAGE, ModelParams
from reprovision.models.layers import ACTIVATIONS, head, initialize


def build_cnn(params: ModelParams, shape: tuple[int, int, int], classes: int) -> nn.Sequential:
    """A stage for each of `model.conv.channels`, then the hidden layers and one logit a class.

    Raises:
        RuntimeError: nothing is left of an image after the last stage.
    """
    conv = params.conv
    stages: list[nn.Module] = []
    inputs = shape[0]
    for stage, outputs in enumerate(conv.channels):
        stages += _stage(params, stage, inputs)
        inputs = outputs
    with torch.no_grad():
        features = nn.Sequential(*stages).eval()(torch.zeros(1, *shape)).numel()
    network = nn.Sequential(*stages, *head(params, features, classes))
    return initialize(network.train(), params)


def _stage(params: ModelParams, stage: int, inputs: int) -> list[nn.Module]:
    """Convolutions of one width; the first may stride, the last is max-pooled.

    Pooling comes first, for a quarter of the work in what follows. With an activation that rises,
    like ReLU, and without batch normalisation the result is the same.
    """
    conv = params.conv
    outputs = conv.channels[stage]
    kernel, stride, pool = (conv.per_stage(name)[stage] for name in PER_STAGE)
    padding = kernel // 2 if conv.padding == "same" else 0
    layers: list[nn.Module] = []
    for index in range(conv.layers_per_stage):
        step = stride if index == 0 else 1
        # batch normalisation brings its own bias
        bias = not conv.batch_norm
        layers.append(nn.Conv2d(inputs, outputs, kernel, step, padding, bias=bias))
        if index == conv.layers_per_stage - 1 and pool > 1:
            layers.append(nn.MaxPool2d(pool))
        if conv.batch_norm:
            layers.append(nn.BatchNorm2d(outputs))
        layers.append(ACTIVATIONS[params.activation]())
        inputs = outputs
    return layers
