"""Random augmentation of whole batches, drawn independently for each image."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from reprovision.core.params import AugmentParams


def is_augmented(params: AugmentParams) -> bool:
    """Whether there is any change to make."""
    return any((params.shift, params.rotate, params.scale, params.shear, params.flip))


class Augmentation:
    """Shifts, rotates, scales, shears and flips images in one resampling.

    Args:
        params: the maximum of each change; each image gets a uniform draw from -max to max.
        seed: of the draws.
    """

    def __init__(self, params: AugmentParams, seed: int) -> None:
        self.params = params
        self.generator = torch.Generator().manual_seed(seed)
        self.active = is_augmented(params)

    def __call__(self, pixels: Tensor) -> Tensor:
        """From uint8 (N, C, H, W) to float32 of the same shape, in 0..255; the border is repeated.

        Without any change to make, the pixels are returned as they are.
        """
        if not self.active:
            return pixels
        maps = self._affine_maps(len(pixels)).to(pixels.device)
        grid = functional.affine_grid(maps, list(pixels.shape), align_corners=False)
        return functional.grid_sample(
            pixels.float(), grid, padding_mode="border", align_corners=False
        )

    def _affine_maps(self, count: int) -> Tensor:
        """(N, 2, 3): maps coordinates in the output, -1..1, to those in the input."""
        p = self.params
        draws = torch.rand(7, count, generator=self.generator) * 2 - 1
        angle = draws[0] * math.radians(p.rotate)
        zoom_x, zoom_y = 1 / (1 + draws[1] * p.scale), 1 / (1 + draws[6] * p.scale)
        shear = (draws[2] * math.radians(p.shear)).tan()
        # an image is 2 wide in these coordinates
        shift_x, shift_y = draws[3] * 2 * p.shift, draws[4] * 2 * p.shift
        mirror = torch.where(draws[5] < 0, -1.0, 1.0) if p.flip else torch.ones(count)
        cos, sin = angle.cos(), angle.sin()
        row_x = (mirror * cos * zoom_x, mirror * (shear * cos - sin) * zoom_y, shift_x)
        row_y = (sin * zoom_x, (shear * sin + cos) * zoom_y, shift_y)
        return torch.stack([*row_x, *row_y], 1).view(count, 2, 3)
