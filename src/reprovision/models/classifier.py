"""The classifier: normalization, a network and its last layer, built from params."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from reprovision.core.params import ModelParams
from reprovision.models.cnn import build_cnn
from reprovision.models.mlp import build_mlp
from reprovision.models.zoo import build_zoo, load_weights

FAMILIES: dict[str, Callable[[ModelParams, tuple[int, int, int], int], nn.Module]] = {
    "mlp": build_mlp,
    "cnn": build_cnn,
}


class Classifier(nn.Module):
    """From pixels (N, C, H, W), uint8 or float in 0..255, to logits (N, classes).

    Normalization is part of the model, so that nobody who uses it can normalize differently.

    Args:
        network: any module from normalized images (N, C, H, W) to logits (N, classes), or to what
            the head takes.
        mean, std: for each of C channels, of pixels in 0..1.
        head: the last layer, where it is apart: from features (N, F) to logits.
    """

    scale: Tensor
    offset: Tensor

    def __init__(
        self,
        network: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        head: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.head = head or nn.Identity()
        # (pixel / 255 - mean) / std, as one multiplication and one addition
        scale = [1 / (255 * s) for s in std]
        offset = [-m / s for m, s in zip(mean, std, strict=True)]
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32).view(-1, 1, 1))
        self.register_buffer("offset", torch.tensor(offset, dtype=torch.float32).view(-1, 1, 1))

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.scale.device

    def features(self, pixels: Tensor) -> Tensor:
        """What the head takes: (N, F)."""
        # not addcmul: it takes twice as long where it broadcasts over an image
        found: Tensor = self.network(torch.mul(pixels.float(), self.scale).add_(self.offset))
        return found

    def forward(self, pixels: Tensor) -> Tensor:
        """Takes pixels, or features that were computed before, which have two dimensions."""
        logits: Tensor = self.head(pixels if pixels.ndim == 2 else self.features(pixels))
        return logits


def build_model(
    params: ModelParams,
    shape: tuple[int, int, int],
    classes: int,
    mean: Sequence[float],
    std: Sequence[float],
    pretrained: bool = False,
) -> Classifier:
    """Builds a classifier with initial parameters drawn from torch's global random state.

    Args:
        shape: of the images, (C, H, W).
        classes: number of classes.
        mean, std: see `Classifier`; pretrained networks have their own.
        pretrained: load `model.weights`; a checkpoint brings all parameters itself.

    Raises:
        UserError: there is no such network, the images are too small for it, or its pretrained
            parameters can't be loaded.
    """
    if build := FAMILIES.get(params.name):
        return Classifier(build(params, shape, classes), mean, std)
    network = build_zoo(params.name, shape, classes)
    if params.weights is None:
        return Classifier(network.backbone, mean, std, network.head)
    if pretrained:
        load_weights(network, params)
    return Classifier(network.backbone, network.mean, network.std, network.head)


def count_parameters(model: nn.Module) -> int:
    """The number of parameters."""
    return sum(parameter.numel() for parameter in model.parameters())
