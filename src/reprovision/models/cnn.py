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
        layers, sides = _stage(params, stage, inputs, sides)
        stages += layers
        inputs = outputs
        if min(sides) < 1:
            raise UserError(
                f"model.name=cnn does not fit images of {shape[1]}x{shape[2]} pixels: stage "
                f"{stage + 1} of {len(channels)} would shrink them to nothing: use fewer "
                "model.conv.channels, a smaller model.conv.kernel_size, or a larger data.image_size"
            )
    network = nn.Sequential(*stages, *head(params, inputs * math.prod(sides), classes))
    return initialize(network, params)


def _stage(
    params: ModelParams, stage: int, inputs: int, sides: list[int]
) -> tuple[list[nn.Module], list[int]]:
    """Convolutions of one width; the first may have a stride, the last is followed by max-pooling.

    Pooling comes before the activation, which then has a quarter of the work. For increasing
    activations, like ReLU, and without batch normalization the result is the same.

    Returns:
        The layers, and height and width after them, in pixels. These are computed: a trial on
        torch's meta device takes 1.2 s the first time (n=1), in every command that loads a model.
    """
    conv = params.conv
    outputs = conv.channels[stage]
    kernel, stride, pool = (conv.per_stage(name)[stage] for name in PER_STAGE)
    padding = kernel // 2 if conv.padding == "same" else 0
    layers: list[nn.Module] = []
    for index in range(conv.layers_per_stage):
        step = stride if index == 0 else 1
        # batch normalization has a bias of its own
        bias = not conv.batch_norm
        layers.append(nn.Conv2d(inputs, outputs, kernel, step, padding, bias=bias))
        sides = [(side + 2 * padding - kernel) // step + 1 for side in sides]
        if index == conv.layers_per_stage - 1 and pool > 1:
            layers.append(nn.MaxPool2d(pool))
            sides = [side // pool for side in sides]
        if conv.batch_norm:
            layers.append(nn.BatchNorm2d(outputs))
        layers.append(ACTIVATIONS[params.activation]())
        inputs = outputs
    return layers, sides
