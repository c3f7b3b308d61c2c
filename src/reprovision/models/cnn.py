"""Convolutional networks: stages of convolutions and pooling, then fully connected layers."""

import math

from torch import nn

from reprovision.core.errors import UserError
from reprovision.core.params import PER_STAGE, ModelParams
from reprovision.models.layers import ACTIVATIONS, head, initialize


def build_cnn(params: ModelParams, shape: tuple[int, int, int], classes: int) -> nn.Sequential:
    """One stage for each of `model.conv.channels`, the hidden layers, and one logit per class.

    Raises:
        UserError: the images are too small for all stages.
    """
    channels = params.conv.channels
    stages: list[nn.Module] = []
    inputs, *sides = shape
    for stage, outputs in enumerate(channels):
        stages += _stage(params, stage, inputs)
        inputs, sides = outputs, [_side_after(params, stage, side) for side in sides]
        if min(sides) < 1:
            raise UserError(
                f"model.name=cnn does not fit images of {shape[1]}x{shape[2]} pixels: stage "
                f"{stage + 1} of {len(channels)} would shrink them to nothing: use fewer "
                "model.conv.channels, a smaller model.conv.kernel_size, or a larger data.image_size"
            )
    network = nn.Sequential(*stages, *head(params, inputs * math.prod(sides), classes))
    return initialize(network, params)


def _side_after(params: ModelParams, stage: int, side: int) -> int:
    """Height or width after a stage, in pixels.

    Computed, because a trial on torch's meta device takes 1.2 s the first time (n=1), in every
    command that loads a model.
    """
    kernel, stride, pool = (params.conv.per_stage(name)[stage] for name in PER_STAGE)
    for index in range(params.conv.layers_per_stage):
        side += 2 * _padding(params, kernel) - kernel
        side = side // (stride if index == 0 else 1) + 1 if side >= 0 else 0
    return side // pool


def _padding(params: ModelParams, kernel: int) -> int:
    return kernel // 2 if params.conv.padding == "same" else 0


def _stage(params: ModelParams, stage: int, inputs: int) -> list[nn.Module]:
    """Convolutions of one width; the first may have a stride, the last is followed by max-pooling.

    Pooling comes before the activation, which then has a quarter of the work. For increasing
    activations, like ReLU, and without batch normalization the result is the same.
    """
    conv = params.conv
    outputs = conv.channels[stage]
    kernel, stride, pool = (conv.per_stage(name)[stage] for name in PER_STAGE)
    padding = _padding(params, kernel)
    layers: list[nn.Module] = []
    for index in range(conv.layers_per_stage):
        step = stride if index == 0 else 1
        # batch normalization has a bias of its own
        bias = not conv.batch_norm
        layers.append(nn.Conv2d(inputs, outputs, kernel, step, padding, bias=bias))
        if index == conv.layers_per_stage - 1 and pool > 1:
            layers.append(nn.MaxPool2d(pool))
        if conv.batch_norm:
            layers.append(nn.BatchNorm2d(outputs))
        layers.append(ACTIVATIONS[params.activation]())
        inputs = outputs
    return layers
