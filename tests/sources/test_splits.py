"""Splits by content: what stays where it is, whatever else changes."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from project import tiny_params

from reprovision.core.errors import UserError
from reprovision.data.dataset import SPLITS
from reprovision.sources.source import Part, Source, part_from_arrays
from reprovision.sources.splits import (
    assign,
    choose,
    choose_count,
    draw,
    groups_by_pattern,
    keys_of_groups,
)

LABELS = st.lists(st.integers(0, 3), min_size=10, max_size=300)


def keys(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(2**64, size=count, dtype=np.uint64)


def pictures(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(256, size=(count, 1, 4, 4), dtype=np.uint8)


def splits_of(images: np.ndarray, labels: np.ndarray, **params: object) -> np.ndarray:
    source = Source("made", ("a", "b"), 1, lambda: (4, 4), part_from_arrays(images, labels, "made"))
    ((_, splits),) = assign(source, tiny_params(**{"data.limit": None} | params).data)
    return splits


@given(st.integers(100, 300), st.integers(1, 100), st.integers(0, 1000))
def test_images_that_are_added_move_no_other(old: int, new: int, seed: int) -> None:
    # so large that each class has images in all splits by their draws alone
    fractions = {"data.test_fraction": 0.5, "data.val_fraction": 0.5}
    images, labels = pictures(old + new, seed), np.arange(old + new) % 2
    before = splits_of(images[:old], labels[:old], **fractions)
    after = splits_of(images, labels, **fractions)
    assert np.array_equal(after[:old], before)


@given(st.randoms(use_true_random=False))
def test_the_order_of_the_images_does_not_matter(random: object) -> None:
    images, labels = pictures(200), np.arange(200) % 2
    order = np.array(random.sample(range(200), 200))  # type: ignore[attr-defined]
    assert np.array_equal(splits_of(images[order], labels[order]), splits_of(images, labels)[order])


def test_copies_share_a_split() -> None:
    images = np.repeat(pictures(100), 3, axis=0)
    splits = splits_of(images, np.arange(300) % 2).reshape(100, 3)
    assert (splits == splits[:, :1]).all()
    assert set(splits[:, 0]) == {0, 1, 2}


def test_the_shares_are_those_asked_for_on_average() -> None:
    splits = splits_of(pictures(20_000), np.arange(20_000) % 2, **{"data.val_fraction": 0.25})
    shares = np.bincount(splits) / len(splits)
    assert shares == pytest.approx([0.6, 0.2, 0.2], abs=0.01)


def test_another_split_seed_changes_val_and_not_test() -> None:
    images, labels = pictures(500), np.arange(500) % 2
    one, two = (splits_of(images, labels, **{"data.split_seed": seed}) for seed in (0, 1))
    test = SPLITS.index("test")
    assert np.array_equal(one == test, two == test)
    assert not np.array_equal(one, two)


@given(LABELS, st.sampled_from([0.01, 0.1, 0.5, 0.9]), st.integers(0, 1000))
def test_no_class_is_forgotten_on_either_side(
    values: list[int], fraction: float, seed: int
) -> None:
    labels = np.array(values)
    chosen = choose(labels, keys(len(labels)), fraction, str(seed), each_class=True)
    for label in np.unique(labels):
        mine = chosen[labels == label]
        assert not mine.all(), "some are left to learn from"
        assert mine.any() or len(mine) < 3


def test_a_small_class_keeps_its_images_for_training_and_test() -> None:
    labels = np.repeat(np.arange(50), 4)
    splits = splits_of(pictures(200), labels % 2, **{"data.val_fraction": 0.01})
    assert 1 <= (splits == SPLITS.index("val")).sum() < 10
    chosen = choose(labels, keys(200), 0.01, "val", each_class=False)
    assert 1 <= chosen.sum() < 10


@given(LABELS, st.integers(1, 100), st.integers(0, 1000))
def test_a_limit_keeps_the_classes_shares(values: list[int], percent: int, seed: int) -> None:
    labels = np.array(values)
    count = max(1, len(labels) * percent // 100)
    chosen = choose_count(labels, keys(len(labels)), count, str(seed))
    assert chosen.sum() == count
    shares = np.bincount(labels, minlength=4) * count / len(labels)
    found = np.bincount(labels[chosen], minlength=4)
    # rounding, and one image each for up to two more classes that would get none
    assert (np.abs(found - shares) < 3).all()


def test_a_draw_is_the_same_on_every_machine() -> None:
    assert draw(np.array([0, 1, 2**64 - 1], np.uint64), "test").tolist() == [
        0.9925609117192302,
        0.2451642735568096,
        0.19265246744961706,
    ]


# ---- groups


def table_part(images: np.ndarray, labels: np.ndarray, groups: Sequence[str]) -> Part:
    part = part_from_arrays(images, labels, "made")
    return replace(part, columns={"group": groups, "other": groups})


def test_a_group_never_straddles_splits() -> None:
    groups = [f"patient {number // 7}" for number in range(700)]
    part = table_part(pictures(700), np.arange(700) % 2, groups)
    source = Source("made", ("a", "b"), 1, lambda: (4, 4), part)
    for name in (None, "other"):
        params = tiny_params(**{"data.limit": None, "data.group": name})
        ((_, splits),) = assign(source, params.data)
        splits = splits.reshape(100, 7)
        assert (splits == splits[:, :1]).all()
        assert set(splits[:, 0]) == {0, 1, 2}


def test_images_that_are_added_to_a_group_follow_it() -> None:
    groups = [f"{number // 5}" for number in range(500)]
    images, labels = pictures(600), np.arange(600) % 2
    more = [*groups, *(f"{number}" for number in range(100))]
    found = []
    for names in (groups, more):
        part = table_part(images[: len(names)], labels[: len(names)], names)
        source = Source("made", ("a", "b"), 1, lambda: (4, 4), part)
        ((_, splits),) = assign(source, tiny_params(**{"data.limit": None}).data)
        found.append(splits)
    assert np.array_equal(found[0], found[1][:500])
    assert np.array_equal(found[1][500:], found[0][::5])


def test_groups_with_a_copy_in_common_are_one() -> None:
    digests = np.array([1, 2, 2, 3, 4], np.uint64)
    found = keys_of_groups(digests, ["a", "a", "b", "b", "c"])
    assert len(set(found[:4].tolist())) == 1
    assert found[4] != found[0]


def test_a_pattern_finds_the_group_in_the_path() -> None:
    paths = ["cat/anna_1.jpg", "dog/anna_2.jpg", "dog/ben_1.jpg"]
    assert groups_by_pattern(r"/(\w+)_", 3, paths.__getitem__) == ["anna", "anna", "ben"]
    assert groups_by_pattern(r"anna|ben", 3, paths.__getitem__) == ["anna", "anna", "ben"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", r"data\.group=\( is neither a column nor a regular expression \("),
        ("z", r"data\.group=z does not match cat/1\.jpg: use a regular expression that"),
    ],
)
def test_a_wrong_pattern_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        groups_by_pattern(pattern, 1, lambda _: "cat/1.jpg")


def test_own_splits_that_share_a_group_are_refused() -> None:
    images, labels = pictures(20), np.arange(20) % 2
    parts = [table_part(images, labels, ["anna"] * 20), table_part(images, labels, ["anna"] * 20)]
    source = Source("made", ("a", "b"), 1, lambda: (4, 4), parts[0], test=parts[1])
    with pytest.raises(UserError, match=r"made has images of the group anna in two of its splits"):
        assign(source, tiny_params().data)
