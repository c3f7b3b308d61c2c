"""The model zoo: a name and params give a classifier.

A classifier takes pixels (N, C, H, W), uint8 or float in 0..255, and gives logits (N, classes).
Normalisation is its first step, so that whoever has the model can't get it wrong.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from reprovision.core.params import ModelParams
from reprovision.models.cnn import build_cnn
from reprovision.models.mlp import build_mlp

FAMILIES: dict[str, Callable[[ModelParams, tuple[int, int, int], int], nn.Sequential]] = {
    "mlp": build_mlp,
    "cnn": build_cnn,
}


class Classifier(nn.Module):
    """A network with its normalisation in front.

    Args:
        network: takes normalised images (N, C, H, W) and gives logits (N, classes).
        mean, std: for each of C channels, of pixels in 0..1.
    """

    scale: Tensor
    offset: Tensor

    def __init__(self, network: nn.Sequential, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        # (pixel / 255 - mean) / std, as one multiplication and one addition
        scale = [1 / (255 * deviation) for deviation in std]
        offset = [-average / deviation for average, deviation in zip(mean, std, strict=True)]
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32).view(-1, 1, 1))
        self.register_buffer("offset", torch.tensor(offset, dtype=torch.float32).view(-1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        # one by one: addcmul takes twice as long where it repeats a number for a whole image
        logits: Tensor = self.network(torch.mul(pixels.float(), self.scale).add_(self.offset))
        return logits


def build_model(
    params: ModelParams,
    shape: tuple[int, int, int],
    classes: int,
    mean: Sequence[float],
    std: Sequence[float],
) -> Classifier:
    """Builds a classifier with fresh weights, drawn from torch's global random state.

    Args:
        shape: of the images, (C, H, W).
        classes: how many logits an image gets.
        mean, std: see `Classifier`.

    Raises:
        UserError: the images are too small for the convolutions and poolings asked for.
    """
    return Classifier(FAMILIES[params.name](params, shape, classes), mean, std)


def count_weights(model: nn.Module) -> int:
    """The number of trainable weights."""
    return sum(weight.numel() for weight in model.parameters())
