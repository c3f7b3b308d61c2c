"""Copies and near duplicates: found however they were saved, and nothing else."""

import gzip
import io
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import photo
from PIL import Image
from sklearn.datasets import load_digits

from reprovision.checks.copies import MOST, NEIGHBORS, find_pairs
from reprovision.checks.looks import FREQUENCIES, Looks, look_at
from reprovision.images.preprocessing import Preprocessing, preprocess

SMALL = Preprocessing(64, 64, 3, resize="squash")


def pixels(image: Image.Image, **options: Any) -> np.ndarray:
    """The pixels of an image that was saved in a format."""
    content = io.BytesIO()
    image.convert(options.pop("mode", "RGB")).save(content, **({"format": "JPEG"} | options))
    return preprocess(content.getvalue(), SMALL)


def pairs(images: list[np.ndarray]) -> list[tuple[int, int, bool]]:
    """The pairs among images, and whether they are identical."""
    found = find_pairs(look_at([np.stack(images)]))
    same = found.similarity == 1
    return list(zip(found.images.tolist(), found.others.tolist(), same.tolist(), strict=True))


@pytest.mark.parametrize(
    "saved",
    [
        lambda image: pixels(image, quality=30),
        lambda image: pixels(image, format="PNG"),
        lambda image: pixels(image, format="WEBP", quality=60),
        lambda image: pixels(image.resize((80, 60)), quality=75),
        lambda image: pixels(image.resize((400, 300)), quality=90),
        lambda image: pixels(image.resize((160, 160)), quality=90),
    ],
)
def test_a_photo_that_was_saved_again_is_found(saved: Any) -> None:
    images = [pixels(photo(number), quality=95) for number in range(60)]
    assert pairs([*images, saved(photo(7))]) == [(60, 7, False)]


def test_identical_images_are_paired_with_the_first_of_them() -> None:
    images = [pixels(photo(number)) for number in range(5)]
    assert pairs([*images, images[3], images[3]]) == [(5, 3, True), (6, 3, True)]


def test_different_photos_are_no_pairs() -> None:
    assert pairs([pixels(photo(number)) for number in range(200)]) == []


def test_images_without_contrast_resemble_nothing() -> None:
    # at this side, rounded cosines of a flat image don't add up to exactly 0
    photos = [pixels(photo(number))[:, :50, :50] for number in range(60)]
    flat = [np.full((3, 50, 50), level, np.uint8) for level in (60, 90, 120, 250)]
    assert pairs([*photos, *flat]) == []


def test_digits_that_are_alike_by_nature_are_no_pairs() -> None:
    images = np.round(load_digits().images * 255 / 16).astype(np.uint8)
    large = [np.asarray(Image.fromarray(image).resize((32, 32))) for image in images]
    assert pairs([image[None] for image in large]) == []


def test_nothing_is_found_among_mnists_test_images(mnist_archives: Path) -> None:
    with gzip.open(mnist_archives / "t10k-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read()[16:], np.uint8).reshape(-1, 1, 28, 28)
    large = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2)))
    found = find_pairs(look_at([large]))
    assert found.complete and not len(found.images)


def test_small_images_are_compared_for_identity_only() -> None:
    images = np.random.default_rng(0).integers(256, size=(20, 1, 28, 28), dtype=np.uint8)
    images[5] = images[2]
    looks = look_at([images])
    assert not looks.compared
    assert find_pairs(looks).images.tolist() == [5]


def test_looks_do_not_depend_on_how_images_are_batched() -> None:
    images = np.stack([pixels(photo(number)) for number in range(30)])
    one, many = look_at([images]), look_at([images[:7], images[7:8], images[8:]])
    for name in ("digests", "hashes", "shapes", "one_color"):
        assert np.array_equal(getattr(one, name), getattr(many, name))


def test_a_group_of_images_that_are_all_alike_needs_bounded_memory_and_is_reported() -> None:
    count = 20_000
    shapes = np.ones((count, FREQUENCIES**2), np.float16) / FREQUENCIES
    same = np.zeros(count, np.uint64)
    looks = Looks(np.arange(count, dtype=np.uint64), same, shapes, np.zeros(count, np.float32))
    tracemalloc.start()
    found = find_pairs(looks)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count * NEIGHBORS > MOST
    assert not found.complete
    assert len(found.images) <= MOST
    assert peak < 700e6, "all pairs would be 3 GB"
