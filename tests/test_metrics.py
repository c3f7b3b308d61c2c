"""The figures that describe a classifier, against published and hand-counted ones; the plots."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image
from sklearn import metrics as sklearn_metrics

from reprovision.core.errors import UserError
from reprovision.evaluation import plots
from reprovision.evaluation.metrics import (
    Predictions,
    calibration_error,
    confusion_matrix,
    interval,
    measure,
    measure_classes,
    predictions_from,
    read_predictions,
    reliability,
    worst_mistakes,
    write_class_metrics,
    write_predictions,
)
from reprovision.training.history import Epoch

CLASSES = ("ant", "bee", "cat")


def random_predictions(count: int = 60, seed: int = 0) -> Predictions:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    logits = random.normal(size=(count, 3)) + 2 * np.eye(3)[labels]
    return predictions_from(logits, labels, CLASSES, [f"test/{i}" for i in range(count)])


# ---- predictions


def test_predictions_follow_from_logits() -> None:
    logits = np.log([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]) + 5
    got = predictions_from(logits, np.array([0, 1]), CLASSES, ["a", "b"])
    assert got.predicted.tolist() == [0, 2]
    assert got.confidence == pytest.approx([0.7, 0.6])
    assert got.loss == pytest.approx(-np.log([0.7, 0.3]))
    assert got.correct.tolist() == [True, False]


def test_huge_logits_overflow_nothing() -> None:
    got = predictions_from(np.array([[1e30, 0, 0]]), np.array([1]), CLASSES, ["a"])
    assert got.confidence[0] == 1
    assert got.loss[0] == pytest.approx(1e30)


ORIGINS = st.text(st.characters(exclude_characters="\x00", codec="utf-8"), max_size=20)


@given(st.lists(ORIGINS, min_size=1, max_size=8))
def test_predictions_survive_their_file(
    tmp_path_factory: pytest.TempPathFactory, origins: list[str]
) -> None:
    path = tmp_path_factory.mktemp("predictions") / "predictions.csv"
    random = np.random.default_rng(0)
    logits, labels = random.normal(size=(len(origins), 3)), random.integers(0, 3, len(origins))
    written = predictions_from(logits, labels, CLASSES, origins)
    write_predictions(path, written)
    read = read_predictions(path, CLASSES)
    assert read.origins == origins
    assert np.array_equal(read.actual, written.actual)
    assert np.array_equal(read.predicted, written.predicted)
    assert read.confidence == pytest.approx(written.confidence, rel=1e-5)
    assert read.loss == pytest.approx(written.loss, rel=1e-5)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "a,b\n1,2\n",
        "image,actual,predicted,confidence,loss\na,ant\n",
        "image,actual,predicted,confidence,loss\na,dog,ant,1,0\n",
    ],
)
def test_a_file_that_holds_no_predictions_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "p.csv").write_text(content)
    with pytest.raises(UserError, match="does not hold predictions"):
        read_predictions(tmp_path / "p.csv", CLASSES)


# ---- figures


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # R. G. Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_wilsons_as_published(
    successes: int, trials: int, low: float, high: float
) -> None:
    assert interval(successes, trials, 0.95) == pytest.approx((low, high), abs=0.00005)


def test_the_interval_of_nothing_is_everything() -> None:
    assert interval(0, 0, 0.95) == (0, 1)


@given(st.integers(1, 500), st.data(), st.floats(0.5, 0.999))
def test_an_interval_holds_its_proportion_and_grows_with_the_confidence(
    trials: int, data: st.DataObject, confidence: float
) -> None:
    successes = data.draw(st.integers(0, trials))
    low, high = interval(successes, trials, confidence)
    assert 0 <= low <= successes / trials <= high <= 1
    wider = interval(successes, trials, (1 + confidence) / 2)
    assert wider[0] <= low
    assert wider[1] >= high


@given(
    npst.arrays(np.int64, 30, elements=st.integers(0, 2)),
    npst.arrays(np.int64, 30, elements=st.integers(0, 2)),
)
def test_the_figures_are_those_of_scikit_learn(actual: np.ndarray, predicted: np.ndarray) -> None:
    made = Predictions(["x"] * 30, CLASSES, actual, predicted, np.full(30, 0.5), np.ones(30))
    precision, recall, f1, support = sklearn_metrics.precision_recall_fscore_support(
        actual, predicted, labels=[0, 1, 2], zero_division=0
    )
    classes = measure_classes(made, 0.95)
    assert [c.precision for c in classes] == pytest.approx(precision)
    assert [c.recall for c in classes] == pytest.approx(recall)
    assert [c.f1 for c in classes] == pytest.approx(f1)
    assert [c.images for c in classes] == support.tolist()
    found = measure(made, 0.95, 15)
    assert found.accuracy == pytest.approx(sklearn_metrics.accuracy_score(actual, predicted))
    assert found.macro_f1 == pytest.approx(np.mean(f1))
    expected = sklearn_metrics.confusion_matrix(actual, predicted, labels=[0, 1, 2])
    assert np.array_equal(confusion_matrix(made), expected)


def test_calibration_is_counted_in_bins_as_by_hand() -> None:
    # two bins of five: 0.5 sure and 2 of 5 right; 0.9 sure and 5 of 5 right
    confidence = np.array([0.5] * 5 + [0.9] * 5)
    actual = np.zeros(10, np.int64)
    predicted = np.array([0, 0, 1, 1, 1, 0, 0, 0, 0, 0])
    made = Predictions(["x"] * 10, CLASSES, actual, predicted, confidence, np.ones(10))
    assert calibration_error(reliability(made, 10)) == pytest.approx((0.1 + 0.1) / 2)
    assert [b.images for b in reliability(made, 10)] == [5, 5]


def test_full_confidence_falls_into_the_last_bin() -> None:
    made = Predictions(["x"], CLASSES, np.array([0]), np.array([0]), np.ones(1), np.zeros(1))
    (only,) = reliability(made, 15)
    assert (only.confidence, only.accuracy) == (1, 1)


def test_the_most_confident_mistakes_come_first_and_equals_stay_in_order() -> None:
    made = Predictions(
        ["x"] * 5,
        CLASSES,
        np.array([0, 0, 0, 0, 0]),
        np.array([1, 0, 1, 2, 1]),
        np.array([0.6, 0.99, 0.9, 0.6, 0.7]),
        np.ones(5),
    )
    assert worst_mistakes(made, 10).tolist() == [2, 4, 0, 3]
    assert worst_mistakes(made, 2).tolist() == [2, 4]


def test_class_figures_have_a_row_a_class(tmp_path: Path) -> None:
    write_class_metrics(tmp_path / "c.csv", measure_classes(random_predictions(), 0.95))
    lines = (tmp_path / "c.csv").read_text().splitlines()
    assert lines[0].startswith("name,precision,recall,")
    assert [line.split(",")[0] for line in lines[1:]] == list(CLASSES)


# ---- plots

HISTORY = [Epoch(1, 1.0, 0.5, 0.9, 0.6, 0.1), Epoch(2, 0.5, 0.8, 0.7, 0.7, 0.1)]


def draw_all(folder: Path, predictions: Predictions) -> list[Path]:
    classes = measure_classes(predictions, 0.95)
    images = np.zeros((len(predictions.actual), 1, 8, 8), np.uint8)
    plots.draw_confusion_matrix(predictions, folder / "confusion.png")
    plots.draw_recall(classes, 0.95, folder / "recall.png")
    plots.draw_reliability(reliability(predictions, 15), folder / "reliability.png")
    plots.draw_curves(HISTORY, folder / "curves.png")
    plots.draw_mistakes(images, predictions, 12, folder / "mistakes.png")
    return sorted(folder.glob("*.png"))


def test_the_plots_are_pictures_and_have_the_same_bytes_twice(tmp_path: Path) -> None:
    first, second = (draw_all(tmp_path / name, random_predictions()) for name in ("a", "b"))
    assert len(first) == 5
    for one, two in zip(first, second, strict=True):
        assert one.read_bytes() == two.read_bytes()
        with Image.open(one) as picture:
            assert min(picture.size) > 150
            assert len(picture.convert("L").getcolors(100_000) or []) > 5


def test_a_perfect_classifier_can_be_drawn(tmp_path: Path) -> None:
    labels = np.arange(9) % 3
    draw_all(tmp_path, predictions_from(np.eye(3)[labels] * 50, labels, CLASSES, ["x"] * 9))


def test_a_class_without_images_can_be_measured_and_drawn(tmp_path: Path) -> None:
    labels = np.zeros(9, np.int64)
    made = predictions_from(np.eye(3)[labels], labels, CLASSES, ["x"] * 9)
    draw_all(tmp_path, made)
    assert json.dumps(measure_classes(made, 0.95)[2].recall) == "0.0"


def test_curves_without_validation_can_be_drawn(tmp_path: Path) -> None:
    plots.draw_curves([Epoch(1, 1.0, 0.5, None, None, 0.1)], tmp_path / "curves.png")


def test_many_classes_with_long_names_can_be_drawn(tmp_path: Path) -> None:
    names = tuple(f"a rather long name of a class {i}" for i in range(60))
    random = np.random.default_rng(0)
    labels = random.integers(0, 60, 200)
    made = predictions_from(random.normal(size=(200, 60)), labels, names, ["x"] * 200)
    draw_all(tmp_path, made)
