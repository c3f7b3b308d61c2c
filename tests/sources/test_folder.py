"""Folders of images as a source: which files are read, how they are split, what is refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from project import tiny_params

from reprovision.core.errors import UserError
from reprovision.data.dataset import SPLITS, load_info, load_origins, load_split
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
    assert sizes == {"train": [12, 17], "val": [2], "test": [6, 3]}
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


@pytest.mark.parametrize(
    ("train", "test"), [("Training", "Testing"), ("TRAIN", "valid"), ("train", "Validation")]
)
def test_splits_are_recognised_by_the_names_that_people_use(
    tmp_path: Path, train: str, test: str
) -> None:
    for split in (train, test):
        for name, count in (("cat", 8), ("dog", 8)):
            for number in range(count):
                picture(tmp_path / "own" / split / name / f"{number}.png")
    source = open_source(tmp_path / "own", tmp_path)
    assert source.classes == ("cat", "dog")
    assert (source.test is None) == (source.val is not None)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (("train", "extra"), "holds extra, train: name the splits train, val and test"),
        (("Testing", "other"), "holds Testing, other: name the splits train, val and test"),
        (("train", "Training"), "holds Training and train: keep one of them"),
        (("set1", "set2"), "holds set1, set2, with the same folders in each: if they are splits"),
    ],
)
def test_folders_that_may_be_splits_are_not_taken_for_classes(
    tmp_path: Path, names: tuple[str, ...], sentence: str
) -> None:
    for split in names:
        for name in ("cat", "dog"):
            picture(tmp_path / "own" / split / name / "1.png")
    assert sentence in refusal(tmp_path / "own", tmp_path)


def test_classes_may_hold_folders(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        for number in range(10):
            picture(tmp_path / "own" / name / "images" / f"{number}.png")
    assert open_source(tmp_path / "own", tmp_path).classes == ("cat", "dog")


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
    assert message.startswith("2 of 40 images in pets can't be read: ")
    assert "cat/07.png (it is not an image" in message
    assert "dog/03.jpg (" in message


def test_a_link_to_a_missing_image_is_named(folder: Path, tmp_path: Path) -> None:
    (folder / "cat" / "07.png").unlink()
    (folder / "cat" / "07.png").symlink_to(tmp_path / "missing.png")
    assert "1 of 40 images in pets can't be read: " in refusal(folder, tmp_path)


def test_more_than_ten_bad_images_are_counted(folder: Path, tmp_path: Path) -> None:
    for path in (folder / "cat").iterdir():
        path.write_bytes(path.name.encode())
    assert "and 10 more" in refusal(folder, tmp_path)


@pytest.mark.parametrize(
    ("side", "problem"),
    # the second is beyond what Pillow itself opens
    [
        (9_000, "its 9000x9000 pixels are more than the 64 million that are decoded"),
        (20_000, "it has more than 178 million pixels: scale it down"),
    ],
)
def test_a_decompression_bomb_is_refused_before_decoding(
    folder: Path, tmp_path: Path, side: int, problem: str
) -> None:
    Image.new("1", (side, side)).save(folder / "cat" / "bomb.png")
    assert (folder / "cat" / "bomb.png").stat().st_size < 100_000
    assert f"cat/bomb.png ({problem}" in refusal(folder, tmp_path)


def test_a_large_photo_is_decoded_at_a_smaller_scale(folder: Path, tmp_path: Path) -> None:
    Image.new("RGB", (12_000, 8_500), RED).save(folder / "cat" / "telephone.jpg")
    out = prepared(folder, tmp_path)
    assert sum(len(load_split(out, split)) for split in SPLITS) == 41


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


@pytest.mark.parametrize(
    "name", ["README.md", "LICENSE", "licence.txt", "Thumbs.db", "cat/desktop.ini", "__MACOSX/x"]
)
def test_what_systems_and_archives_leave_behind_is_ignored(
    folder: Path, tmp_path: Path, name: str
) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"x")
    assert len(open_source(folder, tmp_path).train.labels) == 40


def test_a_class_may_be_called_like_a_document(tmp_path: Path) -> None:
    for name in ("license", "plate"):
        picture(tmp_path / "cars" / name / "1.png")
    assert open_source(tmp_path / "cars", tmp_path).classes == ("license", "plate")


def test_an_image_beside_the_classes_is_named(folder: Path, tmp_path: Path) -> None:
    picture(folder / "stray.png")
    assert "pets/stray.png: not in a class folder" in refusal(folder, tmp_path)


def test_a_broken_link_beside_the_classes_is_named(folder: Path, tmp_path: Path) -> None:
    (folder / "bird").symlink_to(tmp_path / "missing")
    assert "pets/bird: not in a class folder" in refusal(folder, tmp_path)


def test_linked_folders_are_read(folder: Path, tmp_path: Path) -> None:
    picture(tmp_path / "more" / "1.png")
    (folder / "cat" / "linked").symlink_to(tmp_path / "more")
    assert len(open_source(folder, tmp_path).train.labels) == 41
    (folder / "cat" / "loop").symlink_to(folder / "cat")
    assert "cat/loop links to a folder that it is in" in refusal(folder, tmp_path)


def test_a_class_without_images_is_named(folder: Path, tmp_path: Path) -> None:
    (folder / "bird").mkdir()
    assert "pets/bird: no images there" in refusal(folder, tmp_path)


def test_a_split_that_lacks_images_of_a_class_is_refused(tmp_path: Path) -> None:
    for name in ("train/cat", "train/dog", "test/cat"):
        picture(tmp_path / "own" / name / "1.png")
    assert "own/test/dog: no images there" in refusal(tmp_path / "own", tmp_path)


def test_test_images_that_are_training_images_are_counted(tmp_path: Path) -> None:
    for number in range(6):
        for name in ("cat", "dog"):
            shade = (40 * number, 100 * (name == "dog"), 0)
            picture(tmp_path / "own" / "train" / name / f"{number}.png", shade)
            if number % 2:
                picture(tmp_path / "own" / "test" / name / f"{number}.png", shade)
    picture(tmp_path / "own" / "test" / "cat" / "new.png", (1, 2, 3))
    out = prepared(tmp_path / "own", tmp_path, **{"data.val_fraction": 0, "train.keep": "last"})
    splits = load_info(out).splits
    assert {name: split.in_train for name, split in splits.items()} == {
        "train": 0,
        "val": 0,
        "test": 6,
    }


def test_a_dataset_inside_a_hidden_folder_is_read(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        for number in range(10):
            picture(tmp_path / ".data" / "pets" / name / "deep" / f"{number}.png", (number, 0, 0))
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
    assert "empty/b: no images there" in refusal(tmp_path / "empty", tmp_path)


def test_images_of_different_sizes_need_a_size(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        prepared(folder, tmp_path, **{"data.image_size": None})
    sentence = str(caught.value)
    assert "have 39 different sizes, from 12x10 (" in sentence
    assert "to 12x29 (" in sentence
    assert "set data.image_size to the wanted height and width" in sentence


def test_a_size_that_all_images_have_is_found(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    for name in ("cat", "dog"):
        for number in range(20):
            picture(tmp_path / "own" / name / f"{number}.png", (number, 0, 0), size=(12, 10))
        # 12 wide and 10 high when it is upright
        path = tmp_path / "own" / name / "turned.jpg"
        Image.new("RGB", (10, 12)).save(path, exif=turned)
    out = prepared(tmp_path / "own", tmp_path, **{"data.image_size": None})
    assert load_info(out).shape == (3, 10, 12)


def test_a_common_size_is_not_taken_where_networks_are_smaller(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        picture(tmp_path / "own" / name / "1.png", size=(2000, 1500))
    with pytest.raises(UserError, match=r"are 2000x1500 pixels, .* set data\.image_size"):
        prepared(tmp_path / "own", tmp_path, **{"data.image_size": None})


def test_height_and_width_can_be_given_apart(folder: Path, tmp_path: Path) -> None:
    assert load_info(prepared(folder, tmp_path, **{"data.image_size": [6, 9]})).shape == (3, 6, 9)


def test_a_folder_without_any_readable_image_has_no_size(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        picture(tmp_path / "own" / name / "1.png").write_bytes(b"%PDF-1.7")
    with pytest.raises(UserError, match=r"none of the images in .* can be read"):
        prepared(tmp_path / "own", tmp_path, **{"data.image_size": None})


def test_a_missing_source_is_reported_with_the_descriptors_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("data/letters.yaml", "home/unrelated.yaml"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("format: digits\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"does not exist: use a descriptor \(data/letters\.yaml\)"):
        open_source("home/photos", tmp_path)


def test_one_class_is_enough_where_a_model_knows_more(tmp_path: Path) -> None:
    picture(tmp_path / "new" / "cat" / "1.png")
    with pytest.raises(UserError, match="has class folders: cat: put the images of each"):
        open_source(tmp_path / "new", tmp_path)
    assert open_source(tmp_path / "new", tmp_path, least_classes=1).classes == ("cat",)


def test_files_that_are_no_images_can_be_asked_for(folder: Path, tmp_path: Path) -> None:
    for name in ("notes.txt", "cat/list.xlsx", "dog/deep/clip.mp4"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    with pytest.raises(UserError, match=r"notes\.txt: not in a class folder"):
        open_source(folder, tmp_path)
    unreadable: list[tuple[str, str]] = []
    source = open_source(folder, tmp_path, unreadable=unreadable)
    assert len(source.train.labels) == 40
    assert [name for name, _ in unreadable] == ["notes.txt", "cat/list.xlsx", "dog/deep/clip.mp4"]
