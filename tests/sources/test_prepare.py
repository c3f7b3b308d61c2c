"""From a source to prepared tensors: splits, limits, normalisation, the files on disk."""

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from project import ROOT, tiny_params
from sklearn.datasets import load_digits

from reprovision.core.errors import UserError
from reprovision.data.dataset import SPLITS, DatasetInfo, load_info, load_origins, load_split
from reprovision.images.image_grid import draw_samples
from reprovision.images.preprocessing import Preprocessing
from reprovision.sources import Part, Source, open_source
from reprovision.sources.prepare import prepare
from reprovision.sources.source import part_from_arrays

WHOLE = {"data.limit": None}


def digits(folder: Path, **params: Any) -> DatasetInfo:
    source = open_source(ROOT / "data" / "digits.yaml", folder)
    return prepare(source, tiny_params(**params).data, folder)


def read_all(part: Part, how: Preprocessing) -> np.ndarray:
    """All images of a part."""
    rows = np.arange(len(part.labels))
    return np.concatenate([pixels for _, pixels in part.read(how, rows, unexpected)])


def unexpected(row: int, reason: str) -> None:
    raise AssertionError(f"{row}: {reason}")


def origins(folder: Path, split: Any) -> set[str]:
    found = load_origins(folder, split)
    assert len(set(found)) == len(found)
    return set(found)


# ---- splits


@given(
    val=st.sampled_from([0.0, 0.1, 0.5]),
    test=st.sampled_from([0.1, 0.3]),
    limit=st.sampled_from([None, 100, 1000]),
    seed=st.integers(0, 1000),
)
def test_splits_are_disjoint_and_complete(
    tmp_path_factory: pytest.TempPathFactory, val: float, test: float, limit: int | None, seed: int
) -> None:
    images = np.random.default_rng(0).integers(256, size=(500, 1, 4, 4), dtype=np.uint8)
    part = part_from_arrays(images, np.arange(500) % 5, "made")
    source = Source("made", tuple("abcde"), 1, lambda: (4, 4), part)
    folder = tmp_path_factory.mktemp("splits")
    changes = {"data.val_fraction": val, "data.test_fraction": test, "data.limit": limit}
    params = tiny_params(**changes, **{"data.split_seed": seed, "train.keep": "last"})
    info = prepare(source, params.data, folder)
    found = {split: origins(folder, split) for split in SPLITS}
    assert not found["train"] & found["val"]
    assert not (found["train"] | found["val"]) & found["test"]
    trained = len(found["train"] | found["val"])
    assert trained + len(found["test"]) == 500 or limit in (trained, len(found["test"]))
    assert max(trained, len(found["test"])) <= (limit or 500)
    assert bool(found["val"]) == (val > 0)
    assert all(count > 0 for name in ("train", "test") for count in info.splits[name].counts)


def test_the_test_images_are_the_same_whatever_the_split_seed_and_fraction(tmp_path: Path) -> None:
    digests = set()
    for number, params in enumerate(
        [{}, {"data.split_seed": 5}, {"data.val_fraction": 0.4}, {"data.normalize": "none"}]
    ):
        digests.add(digits(tmp_path / str(number), **params).splits["test"].digest)
    assert len(digests) == 1


def test_another_split_seed_validates_on_other_images(tmp_path: Path) -> None:
    digits(tmp_path / "a", **WHOLE)
    digits(tmp_path / "b", **WHOLE, **{"data.split_seed": 1})
    assert origins(tmp_path / "a", "val") != origins(tmp_path / "b", "val")


def test_without_a_validation_fraction_everything_trains(tmp_path: Path) -> None:
    info = digits(tmp_path, **WHOLE, **{"data.val_fraction": 0, "train.keep": "last"})
    train, val, test = (sum(info.splits[s].counts) for s in SPLITS)
    assert (train + test, val) == (1797, 0)
    assert test / 1797 == pytest.approx(0.2, abs=0.02)
    assert len(load_split(tmp_path, "val")) == 0


def test_too_few_images_for_a_split_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"1 image is too few to set 10% apart for val: add"):
        digits(tmp_path, **{"data.limit": 1})


# ---- tensors


def test_the_tensors_are_what_dataset_json_says(tmp_path: Path) -> None:
    info = digits(tmp_path, **WHOLE)
    assert info == load_info(tmp_path)
    assert info.shape == (1, 8, 8)
    source = open_source(ROOT / "data" / "digits.yaml", tmp_path)
    whole = read_all(source.train, Preprocessing(8, 8, 1))
    for name in SPLITS:
        split = load_split(tmp_path, name)
        assert split.images.dtype == np.uint8
        assert split.labels.dtype == np.int64
        assert isinstance(split.images.base, np.memmap), "pages are read when they are accessed"
        rows = [int(origin.removeprefix("digits/")) for origin in load_origins(tmp_path, name)]
        assert np.array_equal(split.images, whole[rows])
        assert np.array_equal(split.labels, source.train.labels[rows])
        assert np.bincount(split.labels).tolist() == list(info.splits[name].counts)


def test_mean_and_std_are_those_of_the_training_images_alone(tmp_path: Path) -> None:
    info = digits(tmp_path)
    train = load_split(tmp_path, "train").images / 255
    assert info.mean == pytest.approx([train.mean()], abs=1e-12)
    assert info.std == pytest.approx([train.std()], abs=1e-12)


@pytest.mark.parametrize(
    ("normalize", "mean", "std"), [("half", (0.5,), (0.5,)), ("none", (0.0,), (1.0,))]
)
def test_other_normalisations_are_constants(
    tmp_path: Path, normalize: str, mean: tuple[float], std: tuple[float]
) -> None:
    info = digits(tmp_path, **{"data.normalize": normalize})
    assert (info.mean, info.std) == (mean, std)


def test_mean_and_std_do_not_overflow(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(2, size=(4000, 1, 8, 8), dtype=np.uint8) * 255
    part = part_from_arrays(images, np.arange(4000) % 4 // 2, "stripes")
    source = Source("stripes", ("a", "b"), 1, lambda: (8, 8), part)
    info = prepare(source, tiny_params(**WHOLE).data, tmp_path)
    train = load_split(tmp_path, "train").images / 255
    assert info.std == pytest.approx([train.std()], abs=1e-12)


def test_images_without_contrast_are_not_divided_by_zero(tmp_path: Path) -> None:
    images = np.full((40, 1, 4, 4), 7, np.uint8)
    part = part_from_arrays(images, np.arange(40) % 2, "flat")
    source = Source("flat", ("a", "b"), 1, lambda: (4, 4), part, test=part)
    params = tiny_params(**{"data.val_fraction": 0, "train.keep": "last"})
    info = prepare(source, params.data, tmp_path)
    assert info.std == (1.0,)


def test_size_and_channels_follow_the_params(tmp_path: Path) -> None:
    info = digits(tmp_path, **{"data.image_size": 12, "data.channels": 3})
    assert info.shape == (3, 12, 12)
    assert len(info.mean) == 3


def test_the_same_source_and_params_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        digits(tmp_path / name)
        info, train = load_info(tmp_path / name), load_split(tmp_path / name, "train")
        path = tmp_path / name / "samples.png"
        draw_samples(train.images, train.labels, info.classes, info.name, path)
    files = [p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file()]
    assert len(files) == 11
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_the_digits_are_those_of_scikit_learn(tmp_path: Path) -> None:
    source, bunch = open_source(ROOT / "data/digits.yaml", tmp_path), load_digits()
    assert np.array_equal(source.train.labels, bunch.target)
    assert source.classes == tuple(map(str, bunch.target_names))
    images = read_all(source.train, Preprocessing(8, 8, 1))
    assert np.abs(images[:, 0] / 255 * 16 - bunch.images).max() < 0.05


def test_memory_stays_bounded_whatever_the_number_of_images(tmp_path: Path) -> None:
    def part(count: int) -> Part:
        def read(how: Preprocessing, rows: np.ndarray, report: Any) -> Any:
            for start in range(0, len(rows), 1000):
                chunk = rows[start : start + 1000]
                yield chunk, np.zeros((len(chunk), 1, 32, 32), np.uint8)

        return Part(np.arange(count) % 2, str, read, lambda: np.arange(count, dtype=np.uint64))

    peaks = []
    for count in (10_000, 40_000):
        source = Source("big", ("a", "b"), 1, lambda: (32, 32), part(count))
        tracemalloc.start()
        prepare(source, tiny_params(**WHOLE).data, tmp_path / str(count))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    pixels = 30_000 * 32 * 32
    assert peaks[1] - peaks[0] < pixels / 20, "only labels and draws grow with the images"


@pytest.mark.parametrize("file", ["images.npy", "labels.npy", "origins.txt"])
def test_a_damaged_split_is_refused(tmp_path: Path, file: str) -> None:
    digits(tmp_path)
    path = tmp_path / "test" / file
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"damaged"):
        load_split(tmp_path, "test")
        load_origins(tmp_path, "test")


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("images.npy", lambda images: images.reshape(-1, 1, 4, 16)),
        ("images.npy", lambda images: images.view(np.int8)),
        ("labels.npy", lambda labels: labels.view(np.float64)),
    ],
)
def test_the_same_bytes_with_another_shape_or_type_are_refused(
    tmp_path: Path, file: str, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    digits(tmp_path)
    path = tmp_path / "test" / file
    np.save(path, change(np.load(path)))
    with pytest.raises(UserError, match=rf"{file} is missing or damaged \("):
        load_split(tmp_path, "test")


def test_dataset_json_can_be_read_by_people_and_programs(tmp_path: Path) -> None:
    digits(tmp_path)
    tree = json.loads((tmp_path / "dataset.json").read_text())
    assert tree["name"] == "digits"
    assert tree["classes"] == list("0123456789")
    assert list(tree["splits"]) == list(SPLITS)


def test_a_link_into_a_cache_is_replaced_and_not_followed(tmp_path: Path) -> None:
    out, cache = tmp_path / "out", tmp_path / "cached"
    info = digits(out)
    for name in ("images.npy", "labels.npy", "origins.txt"):
        linked = out / "train" / name
        (cache / name).parent.mkdir(exist_ok=True)
        linked.rename(cache / name)
        linked.symlink_to(cache / name)
    before = {file: file.read_bytes() for file in cache.iterdir()}
    assert digits(out, **{"data.limit": 100}) != info
    assert {file: file.read_bytes() for file in cache.iterdir()} == before
