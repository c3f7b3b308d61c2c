"""Tests and intervals agree with published examples and have the coverage that they state."""

import numpy as np
import pytest

from reprovision.comparison.bootstrap import bootstrap_intervals
from reprovision.results.metrics import measure
from reprovision.results.predictions import Predictions
from reprovision.results.statistics import adjust, paired_difference, unpaired_difference
from reprovision.results.sums import Settings


def test_mcnemars_test_agrees_with_agrestis_approval_ratings() -> None:
    # Categorical Data Analysis, 2nd edition, table 10.1: 794 and 570 agree, 150 and 86 don't; the
    # chi-squared statistic is 17.36, and the interval of the change -0.06 to -0.02
    found = paired_difference(fixed=86, regressed=150, images=1600, confidence=0.95)
    assert found.value == pytest.approx(-0.04)
    assert found.p == pytest.approx(3.7e-5, rel=0.03)
    assert (found.low, found.high) == pytest.approx((-0.0594, -0.0206), abs=0.0015)


def test_mcnemars_test_is_the_sign_test_on_what_changed() -> None:
    # five heads in five throws, both sides: 2 / 2 ** 5
    assert paired_difference(5, 0, 100, 0.95).p == pytest.approx(2 / 2**5)
    assert paired_difference(0, 0, 100, 0.95).p == 1


@pytest.mark.parametrize("regressed", range(0, 40, 3))
def test_interval_and_p_of_a_paired_difference_tell_the_same_story(regressed: int) -> None:
    for fixed in range(regressed, 80):
        found = paired_difference(fixed, regressed, 10_000, 0.95)
        # between 0.05 and 0.06 they may disagree; the documentation says that p decides
        if not 0.05 <= found.p < 0.06:
            assert (found.low > 0) == (found.p < 0.05), (fixed, regressed)


@pytest.mark.parametrize("shares", [(0.001, 0.003), (0.0, 0.004), (0.01, 0.02), (0.0005, 0.0005)])
def test_paired_intervals_hold_the_true_difference_as_often_as_they_say(
    shares: tuple[float, float],
) -> None:
    fixed, regressed = shares
    random = np.random.default_rng(0)
    draws = random.multinomial(10_000, [fixed, regressed, 1 - fixed - regressed], 1000)
    known: dict[tuple[int, int], bool] = {}
    for plus, minus in {(int(a), int(b)) for a, b, _ in draws}:
        found = paired_difference(plus, minus, 10_000, 0.95)
        known[plus, minus] = found.low <= fixed - regressed <= found.high
    # of 1,000, twice the standard error is 1.4 points
    assert np.mean([known[int(a), int(b)] for a, b, _ in draws]) > 0.95 - 0.014


@pytest.mark.parametrize(
    ("correct", "images", "first_correct", "first_images", "ends"),
    [
        (56, 70, 48, 80, (0.0524, 0.3339)),
        (9, 10, 3, 10, (0.1705, 0.8090)),
        (6, 7, 2, 7, (0.0582, 0.8062)),
        (5, 56, 0, 29, (-0.0381, 0.1926)),
        (0, 10, 0, 20, (-0.1611, 0.2775)),
        (10, 10, 0, 20, (0.6791, 1.0)),
    ],
)
def test_unpaired_intervals_agree_with_newcombe(
    correct: int, images: int, first_correct: int, first_images: int, ends: tuple[float, float]
) -> None:
    # Statistics in Medicine 17 (1998), 873-890, table II, method 10
    found = unpaired_difference(first_correct, first_images, correct, images, 0.95)
    assert (found.low, found.high) == pytest.approx(ends, abs=5e-5)


def test_fishers_test_agrees_with_the_lady_tasting_tea() -> None:
    # The Design of Experiments, chapter 2: three of four cups correct; both sides: 34 / 70
    assert unpaired_difference(1, 4, 3, 4, 0.95).p == pytest.approx(34 / 70)


def test_many_tests_are_adjusted_after_benjamini_and_hochberg() -> None:
    # their own example (1995, section 3.2): of 15 tests, the first four stay below 0.05
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344]
    p += [0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    adjusted = adjust(p)
    assert sum(q < 0.05 for q in adjusted) == 4
    assert adjusted[3] == pytest.approx(0.0095 * 15 / 4)
    assert adjust([]) == []


def test_calibration_error_agrees_with_a_sum_by_hand() -> None:
    # two bins: confidence 0.6 and 0.8, one of two correct; confidence 0.3, incorrect
    p = predictions([0, 0, 0], [0, 1, 1], [0.6, 0.8, 0.3])
    expected = 2 / 3 * abs(0.7 - 0.5) + 1 / 3 * abs(0.3 - 0.0)
    assert measure(p, 0.95, Settings(2))["calibration_error"] == pytest.approx(expected)


def test_bootstrapped_interval_of_a_mean_is_that_of_the_normal_distribution() -> None:
    base, head = random_predictions(seed=1), random_predictions(seed=2)
    low, high = bootstrap_intervals(base, head, True, 0.95, Settings(15))["loss"]
    difference = head.loss - base.loss
    error = difference.std() / np.sqrt(len(difference))
    ends = difference.mean() - 1.96 * error, difference.mean() + 1.96 * error
    assert (low, high) == pytest.approx(ends, abs=0.15 * error)


def test_pairing_narrows_the_interval_of_two_models_that_err_alike() -> None:
    base = random_predictions(seed=1)
    head = predictions(base.actual, base.predicted, base.confidence, base.loss + 0.01)
    paired = bootstrap_intervals(base, head, True, 0.95, Settings(15))["loss"]
    unpaired = bootstrap_intervals(base, head, False, 0.95, Settings(15))["loss"]
    assert paired == pytest.approx((0.01, 0.01))
    assert unpaired[0] < 0 < unpaired[1]


def test_the_same_comparison_gives_the_same_interval() -> None:
    base, head = random_predictions(seed=1), random_predictions(seed=2)
    first = bootstrap_intervals(base, head, True, 0.95, Settings(15))
    assert bootstrap_intervals(base, head, True, 0.95, Settings(15)) == first


def predictions(
    actual: object, predicted: object, confidence: object, loss: object = None
) -> Predictions:
    labels = np.asarray(actual, np.int64)
    return Predictions(
        origins=[f"image {i}" for i in range(len(labels))],
        classes=("cat", "dog", "owl"),
        actual=labels,
        predicted=np.asarray(predicted, np.int64),
        confidence=np.asarray(confidence, float),
        loss=np.zeros(len(labels)) if loss is None else np.asarray(loss, float),
    )


def random_predictions(seed: int, images: int = 500) -> Predictions:
    random = np.random.default_rng(seed)
    actual = np.arange(images) % 3
    predicted = np.where(random.random(images) < 0.8, actual, random.integers(0, 3, images))
    return predictions(
        actual, predicted, random.uniform(0.34, 1, images), random.exponential(0.5, images)
    )
