"""Folders of images as a source: which files are read, how they are split, what is refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from project import tiny_params

from reprovision.core.errors import UserError
from reprovision.data.dataset import SPLITS, load_origins, load_split
from reprovision.sources import open_source
from reprovision.sources.prepare import prepare

RED, GREEN = (255, 0, 0), (0, 255, 0)


def picture(path: Path, colour: tuple[int, ...] = RED, size: tuple[int, int] = (12, 10)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty red cats and twenty green dogs of different sizes."""
    for number in range(20):
        picture(tmp_path / "pets" / "cat" / f"{number:02}.png", RED, (10 + number, 12))
        picture(tmp_path / "pets" / "dog" / f"{number:02}.jpg", GREEN, (12, 10 + number))
    return tmp_path / "pets"


def prepared(source: Path, into: Path, **params: object) -> Path:
    given = {"data.image_size": 8, "data.limit": None} | params
    prepare(open_source(source, into), tiny_params(**given).data, into / "out")
    return into / "out"


def refusal(source: Path, into: Path) -> str:
    with pytest.raises(UserError) as caught:
        prepared(source, into)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_class_folders_become_classes_and_are_split(folder: Path, tmp_path: Path) -> None:
    out = prepared(folder, tmp_path)
    sizes = {}
    for split in SPLITS:
        loaded = load_split(out, split)
        sizes[split] = np.bincount(loaded.labels).tolist()
        for image, label in zip(loaded.images, loaded.labels, strict=True):
            red, green, _ = image.mean((1, 2))
            assert (red < green) == bool(label)
    assert sizes == {"train": [14, 15], "val": [2, 1], "test": [4, 4]}
    origins = [origin for split in SPLITS for origin in load_origins(out, split)]
    assert sorted(origins) == sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.*"))


def test_given_splits_are_kept(tmp_path: Path) -> None:
    for split, count in (("train", 10), ("val", 3), ("test", 4)):
        for number in range(count):
            picture(tmp_path / "own" / split / "cat" / f"{number}.png", RED)
            picture(tmp_path / "own" / split / "dog" / f"{number}.png", GREEN)
    out = prepared(tmp_path / "own", tmp_path)
    assert [len(load_split(out, s)) for s in SPLITS] == [20, 6, 8]
    assert load_origins(out, "val")[0] == "val/cat/0.png"


def test_parts_with_other_names_are_not_silently_ignored(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        for name in ("cat", "dog"):
            picture(tmp_path / "own" / split / name / "1.png", RED)
    with pytest.raises(UserError, match=r"holds valid beside train: name the parts train, val"):
        open_source(tmp_path / "own", tmp_path)


def test_the_same_folder_elsewhere_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    first = prepared(folder, tmp_path / "first")
    (tmp_path / "elsewhere").mkdir()
    second = prepared(folder.rename(tmp_path / "elsewhere" / "pets"), tmp_path / "second")
    files = [p.relative_to(first) for p in first.rglob("*") if p.is_file()]
    assert len(files) == 10
    for file in files:
        assert (first / file).read_bytes() == (second / file).read_bytes()


def test_every_bad_image_is_named(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "dog" / "03.jpg").read_bytes()
    (folder / "dog" / "03.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "cat" / "07.png").write_bytes(b"no image at all")
    message = refusal(folder, tmp_path)
    assert message.startswith("2 of 40 images can't be read: ")
    assert "pets/dog/03.jpg (" in message
    assert "pets/cat/07.png (" in message


def test_a_link_to_a_missing_image_is_named(folder: Path, tmp_path: Path) -> None:
    (folder / "cat" / "07.png").unlink()
    (folder / "cat" / "07.png").symlink_to(tmp_path / "missing.png")
    assert "1 of 40 images can't be read: " in refusal(folder, tmp_path)


def test_more_than_ten_bad_images_are_counted(folder: Path, tmp_path: Path) -> None:
    for path in (folder / "cat").iterdir():
        path.write_bytes(b"")
    assert "and 10 more: repair or remove them" in refusal(folder, tmp_path)


@pytest.mark.parametrize(
    ("side", "problem"),
    # the second is beyond what Pillow itself opens
    [(9_000, "9000x9000 pixels are too many"), (20_000, "Image size (400000000 pixels) exceeds")],
)
def test_a_decompression_bomb_is_refused_before_decoding(
    folder: Path, tmp_path: Path, side: int, problem: str
) -> None:
    Image.new("1", (side, side)).save(folder / "cat" / "bomb.png")
    assert (folder / "cat" / "bomb.png").stat().st_size < 100_000
    assert f"cat/bomb.png ({problem}" in refusal(folder, tmp_path)


def test_a_file_that_is_not_an_image_is_named(folder: Path, tmp_path: Path) -> None:
    (folder / "cat" / "notes.txt").write_text("cats")
    assert "pets/cat/notes.txt elsewhere" in refusal(folder, tmp_path)


def test_hidden_files_and_folders_are_ignored(folder: Path, tmp_path: Path) -> None:
    (folder / "cat" / ".DS_Store").write_bytes(b"x")
    (folder / ".cache").mkdir()
    # Jupyter's copy of an image could be in another split than the image
    picture(folder / "cat" / ".ipynb_checkpoints" / "00-checkpoint.png")
    out = prepared(folder, tmp_path)
    assert sum(len(load_split(out, split)) for split in SPLITS) == 40


def test_a_dataset_inside_a_hidden_folder_is_read(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        for number in range(10):
            picture(tmp_path / ".data" / "pets" / name / "deep" / f"{number}.png")
    out = prepared(tmp_path / ".data" / "pets", tmp_path)
    assert sum(len(load_split(out, split)) for split in SPLITS) == 20


@pytest.mark.parametrize("name", ["pets\x7f", "pets\udcff"])
def test_a_folder_whose_name_cannot_be_printed_is_refused(tmp_path: Path, name: str) -> None:
    for kind in ("cat", "dog"):
        picture(tmp_path / name / kind / "1.png")
    assert f"the name {name!r}, which is empty, not printable or a duplicate" in refusal(
        tmp_path / name, tmp_path
    )


def test_fewer_than_two_classes_are_refused(tmp_path: Path) -> None:
    picture(tmp_path / "one" / "cat" / "1.png")
    assert "one has class folders: cat: put the images of each class" in refusal(
        tmp_path / "one", tmp_path
    )


def test_a_test_class_that_train_lacks_is_named(tmp_path: Path) -> None:
    for name in ("train/a", "train/b", "test/a", "test/c"):
        picture(tmp_path / "odd" / name / "1.png")
    assert "odd/test holds the class c, which train does not have" in refusal(
        tmp_path / "odd", tmp_path
    )


def test_empty_class_folders_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "empty" / name).mkdir(parents=True)
    assert "empty holds no images" in refusal(tmp_path / "empty", tmp_path)


def test_images_of_different_sizes_need_a_size(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"set data\.image_size to the wanted height and width"):
        prepared(folder, tmp_path, **{"data.image_size": None})


def test_a_missing_source_is_reported_with_those_that_exist(tmp_path: Path) -> None:
    (tmp_path / "digits.yaml").write_text("format: digits\n")
    with pytest.raises(UserError, match=r"does not exist: use a descriptor \(.*digits\.yaml\)"):
        open_source(tmp_path / "digit.yaml", tmp_path)
