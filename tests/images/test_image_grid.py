"""Grids of thumbnails."""

from pathlib import Path

import numpy as np
from PIL import Image

from reprovision.images.image_grid import COLUMNS, GAP, SAMPLES, TILE, draw_image_grid, draw_samples


def test_samples_are_forty_images_of_the_dataset_at_most(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (300, 1, 8, 8), np.uint8)
    draw_samples(images, np.arange(300) % 2, ("a", "b"), "digits", tmp_path / "samples.png")
    with Image.open(tmp_path / "samples.png") as grid:
        width, rows = COLUMNS * (TILE + GAP) + GAP, -(-SAMPLES // COLUMNS)
        assert grid.width == width
        assert rows * TILE < grid.height < (rows + 1) * TILE * 1.5
        assert len(grid.convert("L").getcolors() or []) > 10


def test_a_grid_without_images_has_a_title_only(tmp_path: Path) -> None:
    draw_image_grid(np.empty((0, 1, 8, 8), np.uint8), [], "no errors", tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.height < TILE


def test_a_long_caption_stays_below_its_image(tmp_path: Path) -> None:
    images = np.zeros((1, 3, 8, 8), np.uint8)
    draw_image_grid(images, ["a very long name of a class" * 3], "", tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as grid:
        beside = np.asarray(grid)[:, 2 * GAP + TILE :]
    assert (beside == 255).all()
