"""The classifier: a network with its normalization in front, built from params."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from reprovision.core.params import ModelParams
from reprovision.models.cnn import build_cnn
from reprovision.models.mlp import build_mlp

FAMILIES: dict[str, Callable[[ModelParams, tuple[int, int, int], int], nn.Module]] = {
    "mlp": build_mlp,
    "cnn": build_cnn,
}


class Classifier(nn.Module):
    """From pixels (N, C, H, W), uint8 or float in 0..255, to logits (N, classes).

    Normalization is part of the model, so that nobody who uses it can normalize differently.

    Args:
        network: any module from normalized images (N, C, H, W) to logits (N, classes).
        mean, std: for each of C channels, of pixels in 0..1.
    """

    scale: Tensor
    offset: Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        # (pixel / 255 - mean) / std, as one multiplication and one addition
        scale = [1 / (255 * s) for s in std]
        offset = [-m / s for m, s in zip(mean, std, strict=True)]
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32).view(-1, 1, 1))
        self.register_buffer("offset", torch.tensor(offset, dtype=torch.float32).view(-1, 1, 1))

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.scale.device

    def forward(self, pixels: Tensor) -> Tensor:
        # not addcmul: it takes twice as long where it broadcasts over an image
        logits: Tensor = self.network(torch.mul(pixels.float(), self.scale).add_(self.offset))
        return logits


def build_model(
    params: ModelParams,
    shape: tuple[int, int, int],
    classes: int,
    mean: Sequence[float],
    std: Sequence[float],
) -> Classifier:
    """Builds a classifier with initial parameters drawn from torch's global random state.

    Args:
        shape: of the images, (C, H, W).
        classes: number of classes.
        mean, std: see `Classifier`.

    Raises:
        UserError: the images are too small for the convolutions and poolings of the params.
    """
    return Classifier(FAMILIES[params.name](params, shape, classes), mean, std)


def count_parameters(model: nn.Module) -> int:
    """The number of trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters())
