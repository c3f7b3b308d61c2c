"""Batches and random changes: every image once an epoch, everything decided by the seed."""

import ctypes
import mmap
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reprovision.core.params import AugmentParams
from reprovision.data.augmentation import Augmentation
from reprovision.data.batches import Batches, seed_for
from reprovision.data.dataset import Split
from reprovision.data.paging import LARGE, RandomAccess

CPU = torch.device("cpu")


def numbered(count: int) -> Split:
    """Images that each hold their own number, and labels that do so too."""
    numbers = np.arange(count)
    return Split(np.tile(numbers[:, None, None, None], (1, 1, 2, 2)).astype(np.uint8), numbers)


@given(st.integers(1, 200), st.integers(1, 64), st.integers(0, 2**63 - 1))
def test_an_epoch_is_a_permutation_of_the_images_with_their_labels(
    count: int, batch_size: int, seed: int
) -> None:
    batches = Batches(numbered(count), batch_size, CPU)
    got = list(batches.epoch(seed))
    assert len(got) == len(batches)
    assert [len(labels) for _, labels in got[:-1]] == [batch_size] * (len(got) - 1)
    labels = torch.cat([labels for _, labels in got])
    assert sorted(labels.tolist()) == list(range(count))
    for pixels, numbers in got:
        assert pixels.dtype == torch.uint8
        assert pixels.shape == (len(numbers), 1, 2, 2)
        assert (pixels == numbers.view(-1, 1, 1, 1)).all()


def test_the_order_follows_from_the_seed() -> None:
    batches = Batches(numbered(100), 10, CPU)
    first, again, other = (torch.cat([b for _, b in batches.epoch(s)]) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_each_epoch_and_purpose_has_a_seed_of_its_own() -> None:
    seeds = [
        seed_for(seed, epoch, purpose)
        for seed in range(20)
        for epoch in range(20)
        for purpose in ("order", "dropout", "augmentation", "weights")
    ]
    assert len(set(seeds)) == len(seeds)
    assert seeds[0] == seed_for(0, 0, "order")


def augmentation(**changes: float) -> Augmentation:
    params = {"shift": 0.0, "rotate": 0.0, "scale": 0.0, "shear": 0.0, "flip": False}
    return Augmentation(AugmentParams(**params | changes), seed=0)  # type: ignore[arg-type]


def images(count: int = 8, side: int = 16) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 1, side, side), generator=random, dtype=torch.uint8)


def test_without_any_change_asked_for_the_pixels_stay_as_they_are() -> None:
    pixels = images()
    assert augmentation()(pixels) is pixels


def test_a_flip_mirrors_some_images_and_leaves_the_others() -> None:
    pixels = images(64)
    flipped = augmentation(flip=True)(pixels)
    same = [torch.allclose(a, b.float(), atol=0.01) for a, b in zip(flipped, pixels, strict=True)]
    mirrored = [
        torch.allclose(a, b.flip(-1).float(), atol=0.01)
        for a, b in zip(flipped, pixels, strict=True)
    ]
    assert all(a != b for a, b in zip(same, mirrored, strict=True))
    assert 15 < sum(same) < 49


def centre(pixels: torch.Tensor) -> torch.Tensor:
    """(N, 2): x and y of each image's centre of brightness, in pixels."""
    side = pixels.shape[-1]
    weights = pixels[:, 0].float()
    at = torch.arange(side).float()
    total = weights.sum((1, 2))
    return torch.stack([weights.sum(1) @ at / total, weights.sum(2) @ at / total], 1)


def dot(count: int, x: int, y: int) -> torch.Tensor:
    pixels = torch.zeros(count, 1, 32, 32, dtype=torch.uint8)
    pixels[:, :, y - 2 : y + 3, x - 2 : x + 3] = 200
    return pixels


def test_a_shift_moves_every_image_by_at_most_the_fraction_and_each_by_its_own() -> None:
    moved = centre(augmentation(shift=0.25)(dot(500, 16, 16))) - 16
    assert moved.abs().max() <= 8.01
    assert moved.abs().max() > 7
    assert moved.mean(0).abs().max() < 1
    assert len(moved.unique(dim=0)) == 500


def test_a_rotation_keeps_the_distance_from_the_centre_and_the_angle_within_bounds() -> None:
    turned = centre(augmentation(rotate=30)(dot(500, 24, 16))) - 15.5
    assert turned.norm(dim=1) == pytest.approx(8.5, abs=0.3)
    angles = torch.atan2(turned[:, 1], turned[:, 0]).rad2deg()
    assert angles.abs().max() <= 30 + 4
    assert angles.min() < -25
    assert angles.max() > 25


def test_a_scale_moves_what_is_outside_the_centre_in_proportion() -> None:
    scaled = centre(augmentation(scale=0.2)(dot(500, 24, 16))) - 15.5
    distances = scaled[:, 0] / 8.5
    assert distances.min() == pytest.approx(0.8, abs=0.03)
    assert distances.max() == pytest.approx(1.2, abs=0.06)


def test_a_shear_moves_along_the_row_only() -> None:
    sheared = centre(augmentation(shear=30)(dot(500, 16, 24))) - 15.5
    assert sheared[:, 1] == pytest.approx(8.5, abs=0.2)
    assert sheared[:, 0].abs().max() > 3


def test_the_same_seed_gives_the_same_changes() -> None:
    pixels = images()
    changes = {"shift": 0.1, "rotate": 10.0, "scale": 0.1, "shear": 5.0}
    assert torch.equal(augmentation(**changes)(pixels), augmentation(**changes)(pixels))


def test_changed_pixels_stay_in_range_and_shape() -> None:
    changed = augmentation(shift=0.3, rotate=45, scale=0.3, shear=20, flip=True)(images())
    assert changed.dtype == torch.float32
    assert changed.shape == images().shape
    assert 0 <= changed.min() <= changed.max() <= 255


# ---- larger than memory


def cached(images: np.ndarray) -> np.ndarray:
    """Which rows of one page each, at the start of a page, are in memory already: (N,) bool."""
    pages = np.empty(len(images), np.uint8)
    arguments = (ctypes.c_void_p(images.ctypes.data), images.nbytes)
    assert ctypes.CDLL(None).mincore(*arguments, ctypes.c_void_p(pages.ctypes.data)) == 0
    return (pages & 1).astype(bool)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can be asked what is in memory")
def test_of_a_large_map_the_rows_that_are_wanted_are_fetched_and_no_others(tmp_path: Path) -> None:
    count = LARGE // mmap.PAGESIZE
    (tmp_path / "images").write_bytes(bytes(LARGE))
    with (tmp_path / "images").open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    mapped = np.memmap(tmp_path / "images", np.uint8, "c", shape=(count, 1, 1, mmap.PAGESIZE))
    images = mapped.view(np.ndarray)
    assert not cached(images).any()

    order = np.random.default_rng(0).permutation(count)
    wanted, touched = order[:500], order[500:600]
    RandomAccess(images).expect(wanted)
    deadline = time.monotonic() + 10
    while not cached(images)[wanted].all():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    images[touched].sum()
    assert cached(images).sum() == len(wanted) + len(touched)


def test_small_arrays_and_arrays_in_memory_need_no_advice() -> None:
    RandomAccess(np.zeros((10, 1, 4, 4), np.uint8)).expect(np.arange(10))
