"""The pictures of results: correct and readable, whatever the classes are called and how many."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib import rc_context
from PIL import Image

from reprovision.evaluation import plots
from reprovision.images.fonts import missing_characters
from reprovision.images.image_grid import CAPTION
from reprovision.results.class_metrics import ClassMetrics, measure_classes
from reprovision.results.history import Epoch
from reprovision.results.predictions import Predictions, predictions_from

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


def test_no_errors_are_stated(tmp_path: Path) -> None:
    perfect = predictions(("a", "b"), errors=0)
    images = np.zeros((len(perfect.actual), 1, 8, 8), np.uint8)
    plots.draw_errors(images, perfect, 24, tmp_path / "mistakes.png")
    # a line of text, and no images
    assert Image.open(tmp_path / "mistakes.png").height < 60


def test_a_few_errors_leave_no_empty_half(tmp_path: Path) -> None:
    few = predictions(("a", "b"), errors=2)
    images = np.zeros((len(few.actual), 1, 8, 8), np.uint8)
    plots.draw_errors(images, few, 24, tmp_path / "mistakes.png")
    picture = np.asarray(Image.open(tmp_path / "mistakes.png").convert("L"))
    drawn = np.flatnonzero((picture < 128).any(0))
    assert picture.shape[1] - drawn.max() < 40


def test_an_error_is_named_after_its_file(tmp_path: Path) -> None:
    errors = predictions(("a", "b"), errors=2)
    images = np.zeros((len(errors.actual), 1, 8, 8), np.uint8)
    plots.draw_errors(images, errors, 24, tmp_path / "without.png")
    errors.origins[:2] = ["a/photo-1.jpg", "b/photo-2.jpg"]
    plots.draw_errors(images, errors, 24, tmp_path / "with.png")
    heights = [Image.open(tmp_path / f"{name}.png").height for name in ("without", "with")]
    assert heights[1] - heights[0] == CAPTION, "a line more below each image"


def test_names_in_chinese_japanese_and_korean_are_shown(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    names = ("蚂蚁", "ミツバチ", "고양이")
    assert not missing_characters(names)
    draw(predictions(names), tmp_path / "right")
    assert not recwarn.list
    # characters that a font lacks are all the same box
    draw(predictions(("蜜蜂", "カブトム", "강아지")), tmp_path / "other")
    for picture in (tmp_path / "right").iterdir():
        assert picture.read_bytes() != (tmp_path / "other" / picture.name).read_bytes()


def test_characters_without_a_font_are_known_and_drawn_without_a_warning(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    assert missing_characters(["plain", "🦣 mammoth"]) == {"🦣"}
    draw(predictions(("plain", "🦣 mammoth")), tmp_path)
    assert not recwarn.list


def test_equal_results_give_equal_bytes(tmp_path: Path) -> None:
    for folder in ("first", "second"):
        draw(predictions(("a", "b", "c")), tmp_path / folder)
    for name in ("confusion.png", "recall.png", "mistakes.png"):
        first, second = (tmp_path / folder / name for folder in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()


def test_a_users_own_style_changes_nothing(tmp_path: Path) -> None:
    draw(predictions(("a", "b", "c")), tmp_path / "plain")
    with rc_context({"font.size": 20, "axes.facecolor": "yellow", "savefig.dpi": 30}):
        draw(predictions(("a", "b", "c")), tmp_path / "styled")
    for picture in (tmp_path / "plain").iterdir():
        assert picture.read_bytes() == (tmp_path / "styled" / picture.name).read_bytes(), picture


def class_metrics(found: Predictions) -> list[ClassMetrics]:
    return measure_classes(found, 0.95, 3, np.full(len(found.classes), np.nan))


def draw(found: Predictions, folder: Path) -> None:
    """Draws everything that depends on the classes."""
    classes = class_metrics(found)
    plots.draw_confusion_matrix(found, folder / "confusion.png")
    plots.draw_recall(classes, 0.95, folder / "recall.png")
    images = np.zeros((len(found.actual), 1, 8, 8), np.uint8)
    plots.draw_errors(images, found, 24, folder / "mistakes.png")


def predictions(classes: tuple[str, ...], errors: int = 5) -> Predictions:
    count = 20 * len(classes)
    actual = np.arange(count) % len(classes)
    wrong = np.arange(count) < errors
    return Predictions(
        origins=[f"image {i}" for i in range(count)],
        classes=classes,
        actual=actual,
        predicted=np.where(wrong, (actual + 1) % len(classes), actual),
        confidence=np.full(count, 0.9),
        loss=np.full(count, 0.1),
    )


ANIMALS = ("ant", "bee", "cat")
HISTORY = [Epoch(1, 1.0, 0.5, 0.9, 0.6, 0.1), Epoch(2, 0.5, 0.8, 0.7, 0.7, 0.1)]


def random_predictions() -> Predictions:
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 60)
    logits = random.normal(size=(60, 3)) + 2 * np.eye(3)[labels]
    return predictions_from(logits, labels, ANIMALS, [f"test/{i}" for i in range(60)])


def draw_every_plot(folder: Path, predictions: Predictions) -> list[Path]:
    classes = class_metrics(predictions)
    images = np.zeros((len(predictions.actual), 1, 8, 8), np.uint8)
    plots.draw_confusion_matrix(predictions, folder / "confusion.png")
    plots.draw_recall(classes, 0.95, folder / "recall.png")
    plots.draw_reliability(predictions, 15, folder / "reliability.png")
    plots.draw_curves(HISTORY, HISTORY[1], folder / "curves.png")
    plots.draw_errors(images, predictions, 12, folder / "mistakes.png")
    return sorted(folder.glob("*.png"))


def test_the_plots_are_pictures_and_have_the_same_bytes_twice(tmp_path: Path) -> None:
    first, second = (draw_every_plot(tmp_path / name, random_predictions()) for name in ("a", "b"))
    assert len(first) == 5
    for one, two in zip(first, second, strict=True):
        assert one.read_bytes() == two.read_bytes()
        with Image.open(one) as picture:
            assert min(picture.size) > 150
            assert len(picture.convert("L").getcolors(100_000) or []) > 5


def test_a_perfect_classifier_can_be_drawn(tmp_path: Path) -> None:
    labels = np.arange(9) % 3
    draw_every_plot(tmp_path, predictions_from(np.eye(3)[labels] * 50, labels, ANIMALS, ["x"] * 9))


def test_a_class_without_images_can_be_measured_and_drawn(tmp_path: Path) -> None:
    labels = np.zeros(9, np.int64)
    made = predictions_from(np.eye(3)[labels], labels, ANIMALS, ["x"] * 9)
    draw_every_plot(tmp_path, made)
    assert class_metrics(made)[2].recall == 0


def test_curves_without_validation_can_be_drawn(tmp_path: Path) -> None:
    (epoch,) = history = [Epoch(1, 1.0, 0.5, None, None, 0.1)]
    plots.draw_curves(history, epoch, tmp_path / "curves.png")


def test_many_classes_with_long_names_can_be_drawn(tmp_path: Path) -> None:
    names = tuple(f"a rather long name of a class {i}" for i in range(60))
    random = np.random.default_rng(0)
    labels = random.integers(0, 60, 200)
    made = predictions_from(random.normal(size=(200, 60)), labels, names, ["x"] * 200)
    draw_every_plot(tmp_path, made)
