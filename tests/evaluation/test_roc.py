"""The areas under the ROC curves, by hand and against scikit-learn's own average."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special
from sklearn.metrics import roc_auc_score

from reprovision.evaluation.roc import roc_auc
from reprovision.results.metrics import CURVE_METRICS


@given(st.integers(0, 1000))
def test_the_macro_roc_auc_is_that_of_scikit_learn(seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = np.append(random.integers(0, 4, 40), range(4))
    logits = random.normal(size=(44, 4)).astype(np.float32)
    expected = roc_auc_score(labels, special.softmax(logits.astype(float), 1), multi_class="ovr")
    macro = CURVE_METRICS["macro_roc_auc"].compute(roc_auc(logits, labels))
    assert macro == pytest.approx(expected)


def test_an_area_is_the_share_of_pairs_in_order_and_ties_count_half() -> None:
    # the last class has no image
    probabilities = [[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.6, 0.3, 0.1], [0.2, 0.5, 0.3]]
    areas = roc_auc(np.log(probabilities), np.array([0, 0, 1, 1]))
    assert areas == pytest.approx([3.5 / 4, 3.5 / 4, np.nan], nan_ok=True)


def test_images_of_a_single_class_have_no_area() -> None:
    assert np.isnan(roc_auc(np.eye(3), np.ones(3, np.int64))).all()


def test_probabilities_close_to_one_are_still_in_order() -> None:
    logits = np.array([[25.0, 0.0], [24.0, 0.0], [23.0, 0.0]], np.float32)
    assert roc_auc(logits, np.array([0, 1, 1])) == pytest.approx([1, 1])
