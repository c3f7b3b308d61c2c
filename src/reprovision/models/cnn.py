"""Convolutional networks: stages of convolutions and pooling, then fully connected layers."""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from reprovision.core.errors import UserError
from reprovision.core.params import PER_STAGE, ConvParams, ModelParams
from reprovision.models.layers import ACTIVATIONS, head, initialize

POOLED_ABOVE = 8 * 8
"""Positions of a feature map, above which `model.conv.global_pool: auto` averages over them."""


class Residual(nn.Module):
    """Adds to what layers compute their own input (He and others, arXiv:1512.03385).

    Args:
        body: from images (N, C, H, W) to images (N, D, h, w).
        shortcut: the same: a projection where these shapes differ, or the identity.
    """

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.shortcut = shortcut

    def forward(self, images: Tensor) -> Tensor:
        """The sum of both, without activation."""
        total: Tensor = self.body(images) + self.shortcut(images)
        return total


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
    positions = math.prod(sides)
    if _is_pooled(params, positions):
        stages.append(nn.AdaptiveAvgPool2d(1))
        positions = 1
    network = nn.Sequential(*stages, *head(params, inputs * positions, classes))
    return initialize(network, params)


def _is_pooled(params: ModelParams, positions: int) -> bool:
    """Whether only the mean of each channel reaches the fully connected layers."""
    chosen = params.conv.global_pool
    return positions > POOLED_ABOVE if chosen == "auto" else chosen


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
    pooling: list[nn.Module] = [nn.MaxPool2d(pool)] if pool > 1 else []
    layers: list[nn.Module] = []
    width = inputs
    for index in range(conv.layers_per_stage):
        step = stride if index == 0 else 1
        is_pooled = index == conv.layers_per_stage - 1 and not conv.residual
        layers += _convolution(conv, width, outputs, kernel, step, pooling if is_pooled else [])
        layers.append(ACTIVATIONS[params.activation]())
        sides = [(side + 2 * _padding(conv, kernel) - kernel) // step + 1 for side in sides]
        width = outputs
    if conv.residual:
        *body, activation = layers
        same = inputs == outputs and stride == 1
        shortcut = [] if same else _convolution(conv, inputs, outputs, 1, stride)
        layers = [Residual(nn.Sequential(*body), nn.Sequential(*shortcut)), *pooling, activation]
    return layers, [side // pool for side in sides]


def _convolution(
    conv: ConvParams,
    inputs: int,
    outputs: int,
    kernel: int,
    stride: int,
    pooling: Sequence[nn.Module] = (),
) -> list[nn.Module]:
    """A convolution, pooling and batch normalization, which has a bias of its own."""
    bias, padding = not conv.batch_norm, _padding(conv, kernel)
    norm = [nn.BatchNorm2d(outputs)] if conv.batch_norm else []
    return [nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=bias), *pooling, *norm]


def _padding(conv: ConvParams, kernel: int) -> int:
    return kernel // 2 if conv.padding == "same" else 0
