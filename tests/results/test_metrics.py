"""The metrics of a classifier, against published and hand-counted ones and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn import metrics as sklearn_metrics

from reprovision.results.metrics import (
    METRICS,
    SUM_METRICS,
    measure,
    proportion_interval,
)
from reprovision.results.predictions import Predictions, predictions_from
from reprovision.results.sums import Contributions, Settings

CLASSES = ("ant", "bee", "cat")
SETTINGS = Settings(bins=15, top_k=2)


def random_predictions(count: int = 60, seed: int = 0) -> Predictions:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    logits = random.normal(size=(count, 3)) + 2 * np.eye(3)[labels]
    return predictions_from(logits, labels, CLASSES, [f"test/{i}" for i in range(count)])


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
    assert proportion_interval(successes, trials, 0.95) == pytest.approx((low, high), abs=0.00005)


def test_the_interval_of_nothing_is_everything() -> None:
    assert proportion_interval(0, 0, 0.95) == (0, 1)


@given(st.integers(1, 500), st.data(), st.floats(0.5, 0.999))
def test_an_interval_holds_its_proportion_and_grows_with_the_confidence(
    trials: int, data: st.DataObject, confidence: float
) -> None:
    successes = data.draw(st.integers(0, trials))
    low, high = proportion_interval(successes, trials, confidence)
    assert 0 <= low <= successes / trials <= high <= 1
    wider = proportion_interval(successes, trials, (1 + confidence) / 2)
    assert wider[0] <= low
    assert wider[1] >= high


@given(
    npst.arrays(np.int64, 30, elements=st.integers(0, 2)),
    npst.arrays(np.int64, 30, elements=st.integers(0, 2)),
)
def test_the_metrics_are_those_of_scikit_learn(actual: np.ndarray, predicted: np.ndarray) -> None:
    made = Predictions(["x"] * 30, CLASSES, actual, predicted, np.full(30, 0.5), np.ones(30))
    precision, recall, f1, support = sklearn_metrics.precision_recall_fscore_support(
        actual, predicted, labels=[0, 1, 2], zero_division=0
    )
    found = measure(made, 0.95, SETTINGS)
    assert found["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(actual, predicted))
    # a class without images has no recall
    present = support > 0
    assert found["macro_precision"] == pytest.approx(np.mean(precision[present]))
    assert found["balanced_accuracy"] == pytest.approx(np.mean(recall[present]))
    assert found["macro_f1"] == pytest.approx(np.mean(f1[present]))
    assert found["loss"] == 1.0


@pytest.mark.filterwarnings("ignore:y_pred contains classes", "ignore:A single label was found")
@given(
    npst.arrays(np.int64, 30, elements=st.integers(0, 1)),
    npst.arrays(np.int64, 30, elements=st.integers(0, 2)),
)
def test_balanced_accuracy_is_that_of_scikit_learn_without_classes_that_have_no_images(
    actual: np.ndarray, predicted: np.ndarray
) -> None:
    made = Predictions(["x"] * 30, CLASSES, actual, predicted, np.full(30, 0.5), np.ones(30))
    expected = sklearn_metrics.balanced_accuracy_score(actual, predicted)
    assert measure(made, 0.95, SETTINGS)["balanced_accuracy"] == pytest.approx(expected)


@given(npst.arrays(np.int64, 30, elements=st.integers(0, 4)), st.integers(2, 4))
def test_top_k_accuracy_is_that_of_scikit_learn(weights: np.ndarray, top_k: int) -> None:
    random = np.random.default_rng(0)
    weights[0] += 1
    labels, logits = random.integers(0, 5, 30), random.normal(size=(30, 5))
    made = predictions_from(logits, labels, tuple("abcde"), ["x"] * 30)
    expected = sklearn_metrics.top_k_accuracy_score(
        labels, logits, k=top_k, labels=range(5), sample_weight=weights
    )
    sums = Contributions(made, Settings(top_k=top_k)).sums(weights.astype(float))
    assert SUM_METRICS["top_k_accuracy"].compute(sums) == pytest.approx(expected)


@pytest.mark.parametrize("top_k", [1, 3, 4])
def test_a_top_k_accuracy_that_is_the_accuracy_or_always_one_is_left_out(top_k: int) -> None:
    made = random_predictions()
    assert "top_k_accuracy" not in measure(made, 0.95, Settings(15, top_k))
    assert "top_k_accuracy" in measure(made, 0.95, Settings(15, 2))


def test_the_macro_roc_auc_is_the_mean_of_the_classes_that_have_one() -> None:
    made = random_predictions()
    areas = np.array([0.8, np.nan, 0.9])
    assert measure(made, 0.95, SETTINGS, areas)["macro_roc_auc"] == pytest.approx(0.85)
    assert "macro_roc_auc" not in measure(made, 0.95, SETTINGS, np.full(3, np.nan))
    assert "macro_roc_auc" not in measure(made, 0.95, SETTINGS)


@given(npst.arrays(np.int64, 30, elements=st.integers(0, 4)))
def test_weighted_metrics_are_those_of_scikit_learn(weights: np.ndarray) -> None:
    made = random_predictions(30)
    # both classes of images and of predictions must be there for a comparison
    weights[:10] += 1
    sums = Contributions(made, SETTINGS).sums(weights.astype(float))
    expected = sklearn_metrics.precision_recall_fscore_support(
        made.actual, made.predicted, labels=[0, 1, 2], sample_weight=weights, zero_division=0
    )
    names = "macro_precision", "balanced_accuracy", "macro_f1"
    for name, of_classes in zip(names, expected, strict=False):
        assert SUM_METRICS[name].compute(sums) == pytest.approx(np.mean(of_classes))
    assert SUM_METRICS["loss"].compute(sums) == pytest.approx(
        np.average(made.loss, weights=weights)
    )


def test_the_file_of_metrics_has_the_names_of_the_table() -> None:
    found = measure(random_predictions(), 0.95, SETTINGS, np.full(3, 0.9))
    assert [*found] == [
        "accuracy",
        "accuracy_low",
        "accuracy_high",
        *(name for name in METRICS if name != "accuracy"),
        "images",
    ]


def test_calibration_is_counted_in_bins_as_by_hand() -> None:
    # two bins of five: confidence 0.5 and 2 of 5 correct; confidence 0.9 and 5 of 5 correct
    confidence = np.array([0.5] * 5 + [0.9] * 5)
    actual = np.zeros(10, np.int64)
    predicted = np.array([0, 0, 1, 1, 1, 0, 0, 0, 0, 0])
    made = Predictions(["x"] * 10, CLASSES, actual, predicted, confidence, np.ones(10))
    assert measure(made, 0.95, Settings(10))["calibration_error"] == pytest.approx((0.1 + 0.1) / 2)


def test_full_confidence_falls_into_the_last_bin() -> None:
    made = Predictions(["x"], CLASSES, np.array([0]), np.array([1]), np.ones(1), np.zeros(1))
    gaps = Contributions(made, SETTINGS).sums().gaps
    assert gaps.tolist() == [0.0] * 14 + [1.0]
