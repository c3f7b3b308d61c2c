"""Stratified choices: sizes, shares of the classes, seeds."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from reprovision.sources.splits import stratified_choice

LABELS = npst.arrays(np.int64, st.integers(1, 200), elements=st.integers(0, 6))


@given(LABELS, st.data(), st.integers(0, 2**32 - 1))
def test_a_choice_has_the_size_asked_for_and_keeps_the_classes_shares(
    labels: np.ndarray, data: st.DataObject, seed: int
) -> None:
    count = data.draw(st.integers(0, len(labels)))
    chosen = stratified_choice(labels, count, seed)
    assert chosen.sum() == count
    sizes = np.bincount(labels)
    got = np.bincount(labels[chosen], minlength=len(sizes))
    exact = sizes * count / len(labels)
    # the large classes give to those that would have nothing on one side
    poor = int(((sizes > 1) & ((exact < 1) | (sizes - exact < 1))).sum())
    assert (np.abs(got - exact) < 1 + poor).all()


@given(LABELS, st.data(), st.integers(0, 2**32 - 1))
def test_no_class_is_forgotten_on_either_side(
    labels: np.ndarray, data: st.DataObject, seed: int
) -> None:
    sizes = np.bincount(labels)
    classes = np.flatnonzero(sizes)
    if len(labels) >= 2 * len(classes):
        count = data.draw(st.integers(len(classes), len(labels) - len(classes)))
        chosen = stratified_choice(labels, count, seed)
        several = set(np.flatnonzero(sizes > 1))
        assert several <= set(labels[chosen])
        assert several <= set(labels[~chosen])


def test_the_same_seed_makes_the_same_choice() -> None:
    labels = np.arange(100) % 7
    assert np.array_equal(stratified_choice(labels, 50, 3), stratified_choice(labels, 50, 3))


def test_another_seed_makes_another_choice() -> None:
    labels = np.zeros(100, np.int64)
    assert not np.array_equal(stratified_choice(labels, 50, 0), stratified_choice(labels, 50, 1))
