"""The picture of a dataset: readable with any number and any names of classes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reprovision.checks.charts import draw_dataset
from reprovision.checks.images import Images, Sizes
from reprovision.checks.looks import look_at


def made(classes: tuple[str, ...], files: bool) -> Images:
    random = np.random.default_rng(0)
    count = 20 * len(classes)
    sides = random.integers(100, 3000, (2, count))
    return Images(
        name="made",
        classes=classes,
        labels=np.arange(count) % len(classes),
        splits=np.sort(random.integers(3, size=count)),
        origins=[str(row) for row in range(count)],
        looks=look_at([]),
        sizes=Sizes(*sides, random.integers(3, size=count)) if files else None,
    )


@pytest.mark.parametrize("files", [True, False])
@pytest.mark.parametrize("count", [2, 10, 100, 1000])
def test_it_stays_small_enough_to_open(count: int, files: bool, tmp_path: Path) -> None:
    draw_dataset(made(tuple(f"class {i}" for i in range(count)), files), tmp_path / "p.png")
    assert max(Image.open(tmp_path / "p.png").size) < 3000


@pytest.mark.parametrize("name", ["$x^$", r"\frac{", "_private", "a long name " * 20, "蚂蚁"])
def test_a_class_may_have_any_name(name: str, tmp_path: Path) -> None:
    draw_dataset(made(("plain", name), True), tmp_path / "p.png")


def test_the_same_images_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        draw_dataset(made(("ant", "bee"), True), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
