"""The pictures of results: right and readable, whatever the classes are called and how many."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reprovision.evaluation import metrics, plots
from reprovision.evaluation.metrics import Predictions

LONG = "a name that goes on for much longer than any axis has room for, " * 3


@pytest.mark.parametrize("count", [2, 10, 47, 300])
def test_pictures_stay_small_enough_to_open_whatever_the_number_of_classes(
    count: int, tmp_path: Path
) -> None:
    draw(predictions(tuple(f"class {i}" for i in range(count))), tmp_path)
    for picture in tmp_path.glob("*.png"):
        assert max(Image.open(picture).size) < 4500, picture


@pytest.mark.parametrize("name", ["$x^$", "100$ or 200$", r"\frac{", "_private", "%d", "<b>", LONG])
def test_a_class_may_have_any_name(name: str, tmp_path: Path) -> None:
    draw(predictions(("plain", name)), tmp_path)


def test_a_long_name_leaves_room_for_the_matrix(tmp_path: Path) -> None:
    # most of the picture's width has to be the matrix's dark diagonal and its light rest
    plots.draw_confusion_matrix(predictions((LONG, "b", "c")), tmp_path / "matrix.png")
    pixels = np.asarray(Image.open(tmp_path / "matrix.png").convert("RGB")).astype(int)
    coloured = (pixels.max(2) - pixels.min(2) > 4).any(0)
    assert coloured.mean() > 0.5


def test_no_mistakes_are_said(tmp_path: Path) -> None:
    perfect = predictions(("a", "b"), mistakes=0)
    images = np.zeros((len(perfect.actual), 1, 8, 8), np.uint8)
    plots.draw_mistakes(images, perfect, 24, tmp_path / "mistakes.png")
    # a line of text, and no images
    assert Image.open(tmp_path / "mistakes.png").height < 60


def test_equal_results_give_equal_bytes(tmp_path: Path) -> None:
    for folder in ("first", "second"):
        draw(predictions(("a", "b", "c")), tmp_path / folder)
    for name in ("confusion.png", "recall.png", "mistakes.png"):
        first, second = (tmp_path / folder / name for folder in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()


def draw(found: Predictions, folder: Path) -> None:
    """Draws everything that depends on the classes."""
    classes = metrics.measure_classes(found, 0.95)
    plots.draw_confusion_matrix(found, folder / "confusion.png")
    plots.draw_recall(classes, 0.95, folder / "recall.png")
    images = np.zeros((len(found.actual), 1, 8, 8), np.uint8)
    plots.draw_mistakes(images, found, 24, folder / "mistakes.png")


def predictions(classes: tuple[str, ...], mistakes: int = 5) -> Predictions:
    count = 20 * len(classes)
    actual = np.arange(count) % len(classes)
    wrong = np.arange(count) < mistakes
    return Predictions(
        origins=[f"image {i}" for i in range(count)],
        classes=classes,
        actual=actual,
        predicted=np.where(wrong, (actual + 1) % len(classes), actual),
        confidence=np.full(count, 0.9),
        loss=np.full(count, 0.1),
    )
