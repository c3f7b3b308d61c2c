"""The predictions of a classifier: from logits, and through their file."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprovision.core.errors import UserError
from reprovision.results.predictions import (
    Predictions,
    predictions_from,
    read_predictions,
    write_predictions,
)

CLASSES = ("ant", "bee", "cat")


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


# as prepare writes them: printable
ORIGINS = st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), max_size=20)


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
def test_a_file_without_predictions_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "p.csv").write_text(content)
    with pytest.raises(UserError, match="does not hold predictions"):
        read_predictions(tmp_path / "p.csv", CLASSES)


def test_the_most_confident_errors_come_first_and_equals_stay_in_order() -> None:
    made = Predictions(
        ["x"] * 5,
        CLASSES,
        np.array([0, 0, 0, 0, 0]),
        np.array([1, 0, 1, 2, 1]),
        np.array([0.6, 0.99, 0.9, 0.6, 0.7]),
        np.ones(5),
    )
    assert made.most_confident_errors(10).tolist() == [2, 4, 0, 3]
    assert made.most_confident_errors(2).tolist() == [2, 4]
