"""Convolutional networks: stages of convolutions and pooling, then fully connected layers."""

import math

from torch import nn

from reprovision.core.errors import UserError
from reprovision.core.params import PER_STAGE, ModelParams
from reprovision.models.layers import ACTIVATIONS, head, initialize


def build_cnn(params: ModelParams, shape: tuple[int, int, int], classes: int) -> nn.Sequential:
    """A stage for each of `model.conv.channels`, then the hidden layers and one logit a class.

    Raises:
        UserError: nothing is left of an image after one of the stages.
    """
    conv = params.conv
    stages: list[nn.Module] = []
    inputs, *sides = shape
    for stage, outputs in enumerate(conv.channels):
        stages += _stage(params, stage, inputs)
        inputs, sides = outputs, [_side_after(params, stage, side) for side in sides]
        if min(sides) < 1:
            raise UserError(
                f"model.name=cnn does not fit images of {shape[1]}x{shape[2]} pixels: nothing is "
                f"left of them after stage {stage + 1} of {len(conv.channels)}: use fewer "
                "model.conv.channels, a smaller model.conv.kernel_size, or a larger data.image_size"
            )
    # computed rather than tried out: on torch's meta device a trial takes seconds to import
    network = nn.Sequential(*stages, *head(params, inputs * math.prod(sides), classes))
    return initialize(network.train(), params)


def _side_after(params: ModelParams, stage: int, side: int) -> int:
    """What a stage leaves of an image's height or width, in pixels."""
    conv = params.conv
    kernel, stride, pool = (conv.per_stage(name)[stage] for name in PER_STAGE)
    for index in range(conv.layers_per_stage):
        side += 2 * _padding(params, kernel) - kernel
        side = side // (stride if index == 0 else 1) + 1 if side >= 0 else 0
    return side // pool


def _padding(params: ModelParams, kernel: int) -> int:
    return kernel // 2 if params.conv.padding == "same" else 0


def _stage(params: ModelParams, stage: int, inputs: int) -> list[nn.Module]:
    """Convolutions of one width; the first may stride, the last is max-pooled.

    Pooling comes first, for a quarter of the work in what follows. With an activation that rises,
    like ReLU, and without batch normalisation the result is the same.
    """
    conv = params.conv
    outputs = conv.channels[stage]
    kernel, stride, pool = (conv.per_stage(name)[stage] for name in PER_STAGE)
    padding = _padding(params, kernel)
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
