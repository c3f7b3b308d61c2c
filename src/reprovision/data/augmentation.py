"""Random augmentation of whole batches, drawn independently for each image."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from reprovision.core.errors import UserError
from reprovision.core.params import AugmentParams
from reprovision.data.batches import seed_for
from reprovision.data.color import ColorJitter
from reprovision.data.rectangles import draw_rectangles, mask

CROP_RATIO = (3 / 4, 4 / 3)
"""Width / height of what a crop keeps, as in torchvision's RandomResizedCrop."""

ERASED_AREA, ERASED_RATIO = (0.02, 0.33), (0.3, 3.3)
"""Share of the area and width / height of what is erased, as in torchvision's RandomErasing."""


def is_augmented(params: AugmentParams) -> bool:
    """Whether there is any change to make, so that an image is another one in each epoch."""
    return any(params.model_dump().values())


def check_channels(params: AugmentParams, channels: int) -> None:
    """Raises a UserError for changes of color that grayscale images don't have."""
    if channels == 1 and (params.saturation or params.hue):
        raise UserError(
            "train.augment.saturation and hue change colors, and the images are grayscale: set "
            "both to 0, or data.channels=3"
        )


class Augmentation:
    """Crops, shifts, rotates, scales, shears and flips images, then changes colors and erases.

    Each image gets draws of its own: for `crop` see `_crop`, for colors `ColorJitter`, for `erase`
    `_erase`; of the others a uniform one from -max to max. All that moves pixels is one resampling.
    Affine changes, crop, colors and erasing have random streams of their own: one that is turned
    on leaves the draws of the others as they are.

    Args:
        params: the maximum of each change.
        seed: of the draws.
    """

    def __init__(self, params: AugmentParams, seed: int) -> None:
        self.params = params
        self.generator = torch.Generator().manual_seed(seed)
        self.crop = torch.Generator().manual_seed(seed_for(seed, 0, "crop"))
        self.erase = torch.Generator().manual_seed(seed_for(seed, 0, "erase"))
        self.jitter = ColorJitter(params, seed_for(seed, 0, "color"))
        p = params
        self.resampled = any((p.shift, p.rotate, p.scale, p.shear, p.flip, p.crop))

    def __call__(self, pixels: Tensor) -> Tensor:
        """From uint8 (N, C, H, W) to float32 of the same shape, in 0..255; the border is repeated.

        Without any change to make, the pixels are returned as they are.
        """
        if self.resampled:
            pixels = self._resample(pixels)
        pixels = self.jitter(pixels)
        return self._erase(pixels) if self.params.erase else pixels

    def _resample(self, pixels: Tensor) -> Tensor:
        maps = self._affine_maps(len(pixels))
        if self.params.crop:
            maps = self._crop(maps, pixels.shape[2], pixels.shape[3])
        maps = maps.to(pixels.device)
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

    def _crop(self, maps: Tensor, height: int, width: int) -> Tensor:
        """The same maps (N, 2, 3) into random rectangles of the input, as RandomResizedCrop.

        It cuts off `crop` of the area at most; nothing where no rectangle fits. A crop has fewer
        pixels than the image and is enlarged: there is nothing for antialiasing to do.
        """
        area = (1 - self.params.crop, 1.0)
        kept = draw_rectangles(len(maps), (height, width), area, CROP_RATIO, self.crop)
        whole = torch.tensor([0.0, 0.0, height, width])
        kept = torch.where(kept[:, 2:3] > 0, kept, whole)
        # x before y, as in the maps
        start, size = kept[:, [1, 0]], kept[:, [3, 2]]
        image = torch.tensor([width, height])
        maps = maps * (size / image)[:, :, None]
        maps[:, :, 2] += (2 * start + size) / image - 1
        return maps

    def _erase(self, pixels: Tensor) -> Tensor:
        """Random erasing (Zhong and others, arXiv:1708.04896): a rectangle gets the mean color.

        The color is that of the image, which normalization turns into values around 0.
        """
        count, size = len(pixels), (pixels.shape[2], pixels.shape[3])
        rectangles = draw_rectangles(count, size, ERASED_AREA, ERASED_RATIO, self.erase)
        chosen = torch.rand(count, generator=self.erase) < self.params.erase
        inside = mask((rectangles * chosen[:, None]).to(pixels.device), size)
        pixels = pixels.float()
        return torch.where(inside, pixels.mean((2, 3), keepdim=True), pixels)
