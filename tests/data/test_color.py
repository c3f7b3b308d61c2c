"""Changes of color: the formulas of torchvision, with draws of their own for each image."""

from collections.abc import Callable

import pytest
import torch
from project import tiny_params
from torch import Tensor
from torchvision.transforms.v2 import functional

from reprovision.data import color
from reprovision.data.color import ColorJitter

TOLERANCE = 0.01
"""Of 255, in float32; the largest difference was 0.0006."""


def jitter(seed: int = 0, **changes: float) -> ColorJitter:
    params = tiny_params(**{f"train.augment.{key}": value for key, value in changes.items()})
    return ColorJitter(params.train.augment, seed)


def photos(count: int, channels: int = 3, side: int = 12) -> Tensor:
    """Random colors, with black, white, gray and pure ones among them."""
    random = torch.Generator().manual_seed(0)
    shape = (count, channels, side, side)
    pixels = torch.randint(0, 256, shape, generator=random, dtype=torch.uint8)
    pixels[:, :, 0] = pixels[:, :1, 0]
    pixels[:, :, 1] = (pixels[:, :, 1] > 127) * 255
    return pixels


PAIRS: list[tuple[color.Change, Callable[[Tensor, float], Tensor], float]] = [
    (color.change_brightness, functional.adjust_brightness, 1),
    (color.change_contrast, functional.adjust_contrast, 1),
    (color.change_saturation, functional.adjust_saturation, 1),
    (color.change_hue, functional.adjust_hue, 0),
]


@pytest.mark.parametrize(("ours", "theirs", "neutral"), PAIRS)
def test_each_change_is_the_one_of_torchvision(
    ours: color.Change, theirs: Callable[[Tensor, float], Tensor], neutral: float
) -> None:
    pixels = photos(21).float()
    amounts = torch.linspace(-0.5, 0.5, 21)
    changed = ours(pixels, amounts.view(-1, 1, 1, 1))
    for image, got, amount in zip(pixels, changed, amounts.tolist(), strict=True):
        expected = theirs(image / 255, neutral + amount) * 255
        assert torch.allclose(got, expected, atol=TOLERANCE)


@pytest.mark.parametrize(("ours", "theirs", "neutral"), PAIRS[:2])
def test_brightness_and_contrast_of_grayscale_images_are_those_of_torchvision(
    ours: color.Change, theirs: Callable[[Tensor, float], Tensor], neutral: float
) -> None:
    pixels = photos(1, channels=1).float()
    expected = theirs(pixels / 255, neutral + 0.3) * 255
    assert torch.allclose(ours(pixels, torch.tensor(0.3)), expected, atol=TOLERANCE)


def test_each_image_gets_its_own_factors_in_its_own_order() -> None:
    maxima = {"brightness": 0.4, "contrast": 0.5, "saturation": 0.6, "hue": 0.2}
    pixels = photos(50)
    changed = jitter(**maxima)(pixels)
    random = torch.Generator().manual_seed(0)
    draws = torch.rand(4, 50, generator=random) * 2 - 1
    orders = torch.rand(4, 50, generator=random).argsort(0)
    assert len(orders.unique(dim=1).T) > 15
    for number, image in enumerate(pixels):
        expected = image / 255
        for k in orders[:, number].tolist():
            _, change, neutral = PAIRS[k]
            amount = draws[k, number].item() * list(maxima.values())[k]
            expected = change(expected, neutral + amount)
        assert torch.allclose(changed[number], expected * 255, atol=TOLERANCE)


def test_the_size_of_a_chunk_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = photos(20)
    whole = jitter(brightness=0.4, hue=0.2)(pixels)
    monkeypatch.setattr(color, "CHUNK_BYTES", 3 * 4 * 3 * 12 * 12)
    assert torch.equal(jitter(brightness=0.4, hue=0.2)(pixels), whole)


def test_one_change_more_leaves_the_factors_of_the_others_as_they_are() -> None:
    pixels = photos(20)
    one = jitter(brightness=0.1)(pixels)
    both = jitter(brightness=0.1, hue=1e-9)(pixels)
    assert torch.allclose(one, both, atol=TOLERANCE)


def test_without_any_change_the_pixels_are_returned_as_they_are() -> None:
    pixels = photos(2)
    assert jitter()(pixels) is pixels


def test_the_given_images_stay_as_they_are() -> None:
    pixels = photos(4)
    jitter(brightness=0.4)(pixels)
    assert torch.equal(pixels, photos(4))
