"""Augmentation: what each change does, its bounds, its seed."""

import numpy as np
import pytest
import torch
from project import tiny_params
from torchvision.transforms.v2 import functional

from reprovision.core.errors import UserError
from reprovision.data.augmentation import Augmentation, check_channels, is_augmented
from reprovision.data.rectangles import draw_rectangles


def augmentation(**changes: float) -> Augmentation:
    params = tiny_params(**{f"train.augment.{key}": value for key, value in changes.items()})
    return Augmentation(params.train.augment, seed=0)


def images(count: int = 8, side: int = 16, channels: int = 1) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    shape = (count, channels, side, side)
    return torch.randint(0, 256, shape, generator=random, dtype=torch.uint8)


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


EVERYTHING = {
    "shift": 0.3,
    "rotate": 45.0,
    "scale": 0.3,
    "shear": 20.0,
    "flip": True,
    "crop": 0.5,
    "brightness": 0.9,
    "contrast": 0.9,
    "saturation": 0.9,
    "hue": 0.5,
    "erase": 0.5,
}


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
    pixels = images(channels=3)
    assert torch.equal(augmentation(**EVERYTHING)(pixels), augmentation(**EVERYTHING)(pixels))


def test_changed_pixels_stay_in_range_and_shape() -> None:
    changed = augmentation(**EVERYTHING)(images(100, channels=3))
    assert changed.dtype == torch.float32
    assert changed.shape == images(100, channels=3).shape
    assert 0 <= changed.min() <= changed.max() <= 255


def test_the_bytes_of_affine_changes_stay_those_of_earlier_versions() -> None:
    # the committed results depend on them
    changed = augmentation(shift=0.1, rotate=10.0, scale=0.1, shear=5.0, flip=True)(images(2, 4))
    expected = [[110.672, 186.691, 221.782, 76.499], [175.517, 114.701, 56.815, 173.221]]
    assert changed[:, 0, 1].numpy() == pytest.approx(np.array(expected), abs=1e-3)


@pytest.mark.parametrize("name", ["crop", "brightness", "erase"])
def test_one_change_more_leaves_the_draws_of_the_others_as_they_are(name: str) -> None:
    pixels = images(50, channels=3)
    one, two = augmentation(rotate=10.0), augmentation(rotate=10.0, **{name: 0.5})
    one(pixels)
    two(pixels)
    assert torch.equal(one.generator.get_state(), two.generator.get_state())


@pytest.mark.parametrize("name", list(tiny_params().train.augment.model_dump()))
def test_any_change_makes_an_image_another_one_in_each_epoch(name: str) -> None:
    assert not is_augmented(tiny_params().train.augment)
    value = True if name == "flip" else 0.3
    assert is_augmented(tiny_params(**{f"train.augment.{name}": value}).train.augment)


# ---- crop


def test_a_crop_is_the_one_of_torchvision() -> None:
    pixels = images(40, 32, channels=3)
    augment = augmentation(crop=0.5)
    kept = draw_rectangles(40, (32, 32), (0.5, 1.0), (3 / 4, 4 / 3), augment.crop.clone_state())
    for image, crop, box in zip(pixels.float(), augment(pixels), kept.int().tolist(), strict=True):
        expected = functional.resized_crop(image, *box, [32, 32])
        # the outermost pixels are interpolated with those beside the crop, not repeated
        inside = (slice(None), slice(1, -1), slice(1, -1))
        assert torch.allclose(crop[inside], expected[inside], atol=0.02)


def test_a_crop_keeps_at_least_its_share_of_the_area() -> None:
    # a picture of coordinates: the differences of its corners are the size of the crop
    columns = torch.arange(64).expand(64, 64)
    pixels = (4 * torch.stack([columns, columns.T])).to(torch.uint8).expand(500, 2, 64, 64)
    cropped = augmentation(crop=0.4)(pixels)
    widths = (cropped[:, 0, 32, -2] - cropped[:, 0, 32, 1]) / 4 * 64 / 61
    heights = (cropped[:, 1, -2, 32] - cropped[:, 1, 1, 32]) / 4 * 64 / 61
    areas = widths * heights / 64**2
    assert 0.58 < areas.min() < 0.65
    assert areas.max() > 0.95
    assert 0.73 < (widths / heights).min() < 0.85
    assert 1.18 < (widths / heights).max() < 1.36


def test_with_a_rotation_a_crop_is_still_one_resampling() -> None:
    # a rotation of nearly nothing, and the crop alone
    pixels = images(20, 32)
    both = augmentation(crop=0.3, rotate=1e-6)(pixels)
    assert torch.allclose(both, augmentation(crop=0.3)(pixels), atol=0.01)


# ---- erasing


def test_erasing_replaces_a_rectangle_of_some_images_by_their_mean() -> None:
    pixels = images(400, 32, channels=3)
    erased = augmentation(erase=0.5)(pixels)
    different = (erased != pixels.float()).any(1)
    changed = different.any((1, 2))
    assert 160 < changed.sum() < 240
    for image, where, before in zip(erased, different, pixels, strict=True):
        if where.any():
            rows, columns = where.any(1).nonzero(), where.any(0).nonzero()
            box = image[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
            mean = before.float().mean((1, 2))[:, None, None]
            assert torch.allclose(box, mean.expand_as(box), atol=1e-3)
            assert 0.01 < where.float().mean() < 0.35


def test_erasing_works_on_the_smallest_images() -> None:
    assert augmentation(erase=1.0)(images(50, 4)).isfinite().all()


# ---- channels


@pytest.mark.parametrize("name", ["saturation", "hue"])
def test_changes_of_color_are_refused_for_grayscale_images(name: str) -> None:
    params = tiny_params(**{f"train.augment.{name}": 0.1}).train.augment
    check_channels(params, 3)
    with pytest.raises(UserError, match=r"saturation and hue .* are grayscale: set both to 0"):
        check_channels(params, 1)
