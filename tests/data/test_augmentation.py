"""Augmentation: what each change does, its bounds, its seed."""

import pytest
import torch

from reprovision.core.params import AugmentParams
from reprovision.data.augmentation import Augmentation


def augmentation(**changes: float) -> Augmentation:
    params = {"shift": 0.0, "rotate": 0.0, "scale": 0.0, "shear": 0.0, "flip": False}
    return Augmentation(AugmentParams(**params | changes), seed=0)  # type: ignore[arg-type]


def images(count: int = 8, side: int = 16) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 1, side, side), generator=random, dtype=torch.uint8)


def test_without_augmentation_the_pixels_are_returned_as_they_are() -> None:
    pixels = images()
    assert augmentation()(pixels) is pixels


def test_a_flip_mirrors_some_images_and_leaves_the_others() -> None:
    pixels = images(64)
    flipped = augmentation(flip=True)(pixels)
    same = [torch.allclose(a, b.float(), atol=0.01) for a, b in zip(flipped, pixels, strict=True)]
    mirrored = [
        torch.allclose(a, b.flip(-1).float(), atol=0.01)
        for a, b in zip(flipped, pixels, strict=True)
    ]
    assert all(a != b for a, b in zip(same, mirrored, strict=True))
    assert 15 < sum(same) < 49


def centre(pixels: torch.Tensor) -> torch.Tensor:
    """(N, 2): x and y of each image's centre of brightness, in pixels."""
    side = pixels.shape[-1]
    weights = pixels[:, 0].float()
    at = torch.arange(side).float()
    total = weights.sum((1, 2))
    return torch.stack([weights.sum(1) @ at / total, weights.sum(2) @ at / total], 1)


def dot(count: int, x: int, y: int) -> torch.Tensor:
    pixels = torch.zeros(count, 1, 32, 32, dtype=torch.uint8)
    pixels[:, :, y - 2 : y + 3, x - 2 : x + 3] = 200
    return pixels


def test_a_shift_moves_every_image_by_at_most_the_fraction_and_each_by_its_own() -> None:
    moved = centre(augmentation(shift=0.25)(dot(500, 16, 16))) - 16
    assert moved.abs().max() <= 8.01
    assert moved.abs().max() > 7
    assert moved.mean(0).abs().max() < 1
    assert len(moved.unique(dim=0)) == 500


def test_a_rotation_keeps_the_distance_from_the_centre_and_the_angle_within_bounds() -> None:
    turned = centre(augmentation(rotate=30)(dot(500, 24, 16))) - 15.5
    assert turned.norm(dim=1) == pytest.approx(8.5, abs=0.3)
    angles = torch.atan2(turned[:, 1], turned[:, 0]).rad2deg()
    assert angles.abs().max() <= 30 + 4
    assert angles.min() < -25
    assert angles.max() > 25


def test_a_scale_moves_what_is_outside_the_centre_in_proportion() -> None:
    scaled = centre(augmentation(scale=0.2)(dot(500, 24, 16))) - 15.5
    distances = scaled[:, 0] / 8.5
    assert distances.min() == pytest.approx(0.8, abs=0.03)
    assert distances.max() == pytest.approx(1.2, abs=0.06)


def test_a_shear_moves_along_the_row_only() -> None:
    sheared = centre(augmentation(shear=30)(dot(500, 16, 24))) - 15.5
    assert sheared[:, 1] == pytest.approx(8.5, abs=0.2)
    assert sheared[:, 0].abs().max() > 3


def test_the_same_seed_gives_the_same_changes() -> None:
    pixels = images()
    changes = {"shift": 0.1, "rotate": 10.0, "scale": 0.1, "shear": 5.0}
    assert torch.equal(augmentation(**changes)(pixels), augmentation(**changes)(pixels))


def test_changed_pixels_stay_in_range_and_shape() -> None:
    changed = augmentation(shift=0.3, rotate=45, scale=0.3, shear=20, flip=True)(images())
    assert changed.dtype == torch.float32
    assert changed.shape == images().shape
    assert 0 <= changed.min() <= changed.max() <= 255
