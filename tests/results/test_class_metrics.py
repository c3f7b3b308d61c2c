"""The metrics of each class, against scikit-learn, and through their file."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn import metrics as sklearn_metrics

from reprovision.core.errors import UserError
from reprovision.results.class_metrics import (
    measure_classes,
    read_class_metrics,
    write_class_metrics,
)
from reprovision.results.predictions import Predictions, predictions_from

CLASSES = ("ant", "bee", "cat")
AREAS = np.array([0.5, 0.75, np.nan])


def random_predictions(count: int = 60) -> Predictions:
    """Of images of the first two classes only."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, count)
    logits = random.normal(size=(count, 3)) + np.eye(3)[labels]
    return predictions_from(logits, labels, CLASSES, [f"test/{i}" for i in range(count)])


@given(
    npst.arrays(np.int64, 30, elements=st.integers(0, 2)),
    npst.arrays(np.int64, 30, elements=st.integers(0, 2)),
)
def test_the_metrics_of_classes_are_those_of_scikit_learn(
    actual: np.ndarray, predicted: np.ndarray
) -> None:
    made = Predictions(["x"] * 30, CLASSES, actual, predicted, np.full(30, 0.5), np.ones(30))
    precision, recall, f1, support = sklearn_metrics.precision_recall_fscore_support(
        actual, predicted, labels=[0, 1, 2], zero_division=0
    )
    classes = measure_classes(made, 0.95, 2, AREAS)
    assert [c.precision for c in classes] == pytest.approx(precision)
    assert [c.recall for c in classes] == pytest.approx(recall)
    assert [c.f1 for c in classes] == pytest.approx(f1)
    assert [c.images for c in classes] == support.tolist()


def test_the_top_k_recall_counts_the_images_of_a_class() -> None:
    made = random_predictions()
    assert made.rank is not None
    ant, bee, cat = measure_classes(made, 0.95, 2, AREAS)
    for label, found in enumerate((ant, bee)):
        assert found.top_k_recall == pytest.approx((made.rank[made.actual == label] <= 2).mean())
        assert found.recall < found.top_k_recall < 1
    assert cat.top_k_recall == cat.recall == 0


def test_the_metrics_of_classes_survive_their_file(tmp_path: Path) -> None:
    path = tmp_path / "classes.csv"
    written = measure_classes(random_predictions(), 0.95, 2, AREAS)
    write_class_metrics(path, written)
    for before, after in zip(written, read_class_metrics(path), strict=True):
        assert after.name == before.name and after.images == before.images
        for column in ("precision", "recall_low", "top_k_recall", "f1", "roc_auc"):
            value = getattr(before, column)
            assert getattr(after, column) == pytest.approx(value, rel=1e-5, nan_ok=True)


def test_what_is_undefined_is_an_empty_cell(tmp_path: Path) -> None:
    write_class_metrics(tmp_path / "c.csv", measure_classes(random_predictions(), 0.95, 3, AREAS))
    header, *rows = (line.split(",") for line in (tmp_path / "c.csv").read_text().splitlines())
    assert [row[0] for row in rows] == list(CLASSES)
    assert [row[header.index("roc_auc")] for row in rows] == ["0.5", "0.75", ""]
    assert [row[header.index("top_k_recall")] for row in rows] == ["", "", ""]


@pytest.mark.parametrize(
    "content", ["name\nant\n", "name,images\nant,many\n", "name,images\nant\n"]
)
def test_a_file_without_metrics_of_classes_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "c.csv").write_text(content)
    with pytest.raises(UserError, match="does not hold the metrics of classes"):
        read_class_metrics(tmp_path / "c.csv")
