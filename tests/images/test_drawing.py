"""Drawings become pixels as MNIST's makers made theirs."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from reprovision.images.drawing import MNIST_BOX, center_drawing, drawing_box
from reprovision.images.preprocessing import ImageError


def center_of_mass(pixels: np.ndarray) -> tuple[float, float]:
    y, x = (pixels.sum(1 - axis) @ np.arange(pixels.shape[axis]) / pixels.sum() for axis in (0, 1))
    return float(y), float(x)


@pytest.mark.parametrize("size", [28, 32, 56])
@pytest.mark.parametrize(("top", "left"), [(10, 20), (150, 5)])
def test_wherever_it_is_drawn_it_fills_the_box_and_its_mass_is_in_the_middle(
    size: int, top: int, left: int
) -> None:
    drawing = np.zeros((280, 280), np.uint8)
    # an L: its mass is not in the middle of its box
    drawing[top : top + 120, left : left + 20] = 255
    drawing[top + 100 : top + 120, left : left + 80] = 255
    pixels = center_drawing(drawing, size, size, MNIST_BOX)
    rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
    assert np.ptp(rows) + 1 == round(size * 20 / 28)
    assert np.ptp(columns) + 1 == pytest.approx(size * 20 / 28 * 80 / 120, abs=1)
    assert center_of_mass(pixels.astype(float)) == pytest.approx((size / 2, size / 2), abs=0.51)


def test_mnists_own_digits_stay_where_they_are(mnist_archives: Path) -> None:
    with gzip.open(mnist_archives / "t10k-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)[:500]
    assert drawing_box(images[:, None]) == MNIST_BOX
    redrawn = np.stack(
        [center_drawing(image.repeat(10, 0).repeat(10, 1), 28, 28, MNIST_BOX) for image in images]
    )
    same = (redrawn == images).all((1, 2))
    # some of theirs lie up to a pixel beside the middle
    assert same.mean() > 0.9


def test_what_would_stick_out_touches_the_edge() -> None:
    drawing = np.zeros((100, 100), np.uint8)
    drawing[0:100, 0:10] = 255
    drawing[0:10, 0:100] = 255
    pixels = center_drawing(drawing, 8, 8, 1.0)
    assert pixels.any(0).all() and pixels.any(1).all()


def test_nothing_drawn_is_refused() -> None:
    with pytest.raises(ImageError, match="nothing is drawn"):
        center_drawing(np.zeros((10, 10), np.uint8), 28, 28, MNIST_BOX)


@pytest.mark.parametrize("size", [280, 4096])
def test_strokes_that_vanish_when_scaled_are_refused(size: int) -> None:
    line, dots = np.zeros((2, size, size), np.uint8)
    line[:, size // 2] = 255
    dots[0, 0] = dots[-1, -1] = 3
    for drawing in (line, line.T, dots):
        with pytest.raises(ImageError, match="too thin"):
            center_drawing(np.ascontiguousarray(drawing), 28, 28, MNIST_BOX)


def test_a_dot_is_enlarged() -> None:
    drawing = np.zeros((280, 280), np.uint8)
    drawing[3, 5] = 255
    assert np.ptp(np.flatnonzero(center_drawing(drawing, 28, 28, MNIST_BOX).any(1))) + 1 == 20
