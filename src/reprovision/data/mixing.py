"""MixUp and CutMix: images of a batch are mixed with others of it, and so are their labels."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from reprovision.core.params import AugmentParams
from reprovision.data.rectangles import mask


@dataclass(frozen=True)
class Targets:
    """What a batch is to be classified as.

    Attributes:
        labels: int64 (N,), of the images.
        others: int64 (N,), of the images that were mixed in; None without mixing.
        shares: float32 (N,), of `labels`; what is left to 1 is the share of `others`.
    """

    labels: Tensor
    others: Tensor | None = None
    shares: Tensor | None = None

    def for_loss(self, classes: int) -> Tensor:
        """What torch's cross-entropy takes: the labels, or float32 (N, classes) of mixed images."""
        if self.others is None or self.shares is None:
            return self.labels
        first, second = (functional.one_hot(x, classes) for x in (self.labels, self.others))
        return torch.lerp(second.float(), first.float(), self.shares[:, None])

    @property
    def dominant(self) -> Tensor:
        """int64 (N,): of two labels the one with the larger share; accuracy is measured by it."""
        if self.others is None or self.shares is None:
            return self.labels
        return torch.where(self.shares >= 0.5, self.labels, self.others)


class Mixing:
    """Mixes each image with another one of its batch, which a random permutation assigns.

    MixUp (Zhang and others, arXiv:1710.09412) blends the two; CutMix (Yun and others,
    arXiv:1905.04899) pastes a rectangle of the other one, with the image's proportions. The share
    of each image is drawn from Beta(alpha, alpha). Where both are on, each batch gets one of them,
    with equal probability.

    Args:
        params: `mixup` and `cutmix` are the alphas; 0 is off.
        seed: of the draws.
    """

    def __init__(self, params: AugmentParams, seed: int) -> None:
        self.methods = [
            (alpha, method)
            for alpha, method in ((params.mixup, _mixup), (params.cutmix, _cutmix))
            if alpha
        ]
        self.random = np.random.default_rng(seed)

    def __call__(self, pixels: Tensor, labels: Tensor) -> tuple[Tensor, Targets]:
        """From (N, C, H, W) in 0..255 and labels (N,) to float32 of the same shape and targets.

        Without mixing, pixels and labels are returned as they are.
        """
        if not self.methods:
            return pixels, Targets(labels)
        alpha, method = self.methods[self.random.integers(len(self.methods))]
        shares = torch.from_numpy(self.random.beta(alpha, alpha, len(labels)).astype(np.float32))
        places = torch.from_numpy(self.random.random((2, len(labels)), np.float32))
        order = torch.from_numpy(self.random.permutation(len(labels))).to(labels.device)
        pixels = pixels.float()
        mixed, shares = method(pixels, pixels[order], shares.to(pixels.device), places)
        return mixed, Targets(labels, labels[order], shares)


def _mixup(pixels: Tensor, others: Tensor, shares: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    return torch.lerp(others, pixels, shares.view(-1, 1, 1, 1)), shares


def _cutmix(
    pixels: Tensor, others: Tensor, shares: Tensor, places: Tensor
) -> tuple[Tensor, Tensor]:
    """Rectangles around uniform centers; what sticks out is cut off, and the shares corrected."""
    height, width = size = (pixels.shape[2], pixels.shape[3])
    extent = torch.tensor([height, width], device=pixels.device)[:, None]
    centers = (places.to(pixels.device) * extent).floor()
    halves = ((1 - shares).sqrt() * extent / 2).floor()
    start, end = (centers - halves).clamp_(min=0), (centers + halves).minimum(extent)
    rectangles = torch.cat([start, end - start]).T
    areas = rectangles[:, 2] * rectangles[:, 3]
    return torch.where(mask(rectangles, size), others, pixels), 1 - areas / (height * width)
