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
    assert got.rank is not None and got.rank.tolist() == [1, 2]


@given(st.lists(st.lists(st.integers(-2, 2), min_size=3, max_size=3), min_size=1), st.data())
def test_the_rank_is_one_where_the_class_is_predicted_also_among_ties(
    logits: list[list[int]], data: st.DataObject
) -> None:
    count = len(logits)
    labels = np.array(data.draw(st.lists(st.integers(0, 2), min_size=count, max_size=count)))
    got = predictions_from(np.array(logits, float), labels, CLASSES, ["x"] * count)
    order = [sorted(range(3), key=lambda label: -row[label]) for row in logits]
    assert got.rank is not None
    assert got.rank.tolist() == [1 + row.index(y) for row, y in zip(order, labels, strict=True)]
    assert np.array_equal(got.rank == 1, got.correct)


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
    assert np.array_equal(read.rank, written.rank)


def test_a_file_of_an_older_version_has_no_ranks(tmp_path: Path) -> None:
    header, row = "image,actual,predicted,confidence,loss", "a,ant,bee,0.9,2.5"
    (tmp_path / "p.csv").write_text(f"{header}\n{row}\n")
    old = read_predictions(tmp_path / "p.csv", CLASSES)
    assert old.rank is None
    assert old.take([0, 0]).rank is None
    write_predictions(tmp_path / "again.csv", old)
    assert (tmp_path / "again.csv").read_text() == f"{header}\n{row}\n"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "a,b\n1,2\n",
        "image,actual,predicted,confidence,loss\na,ant\n",
        "image,actual,predicted,confidence,loss\na,dog,ant,1,0\n",
        "image,actual,predicted,confidence,loss,rank\na,ant,ant,1,0\n",
        "image,actual,predicted,confidence,loss,rank\na,ant,bee,1,0,0\n",
        "image,actual,predicted,confidence,loss,rank\na,ant,bee,1,0,4\n",
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
