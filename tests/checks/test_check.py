"""`reprovision check`: what it finds in a folder of photos, and what it leaves in peace."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from made import make_photos, photo, placeholder
from project import ROOT, tiny_params, tiny_tree

from reprovision.checks.findings import warnings_of
from reprovision.checks.images import read_prepared
from reprovision.checks.rules import check_images, check_prepared
from reprovision.cli import main
from reprovision.data.dataset import load_split
from reprovision.sources import Source, open_source
from reprovision.sources.prepare import prepare
from reprovision.sources.source import part_from_arrays

WHOLE = {"data.limit": None}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of photos with nothing wrong."""
    return make_photos(tmp_path / "photos")


def check(folder: Path) -> Result:
    """Runs the command; its output is in report/ beside the folder."""
    out = folder.parent / "report"
    return CliRunner().invoke(main, ["check", str(folder), "--out", str(out)])


def rows(folder: Path) -> list[tuple[str, str, str, str]]:
    """The table that it has written: finding, image, other, detail."""
    with (folder.parent / "report" / "findings.csv").open(newline="") as file:
        return [tuple(row) for row in csv.reader(file)][1:]  # type: ignore[misc]


def test_photos_with_nothing_wrong_give_no_findings(photos: Path) -> None:
    done = check(photos)
    assert (done.exit_code, rows(photos)) == (0, [])
    assert "photos: 24 train, 24 test images of 2 classes" in done.output
    assert "always answering ant is correct for 50.00% of test" in done.output
    assert "nothing was found" in done.output
    assert (photos.parent / "report" / "dataset.png").is_file()


def test_val_without_test_is_explained(photos: Path) -> None:
    (photos / "test").rename(photos / "val")
    done = check(photos)
    assert "note: there are val images, but no test images: some of the training" in done.output
    assert done.exit_code == 0


def test_a_test_photo_that_was_trained_on_is_leakage(photos: Path) -> None:
    content = (photos / "train/bee/3.jpg").read_bytes()
    (photos / "test/bee/copy.jpg").write_bytes(content)
    photo(15).resize((100, 75)).save(photos / "test/bee/again.jpg", quality=60)
    done = check(photos)
    assert done.exit_code == 3
    assert "problem: 2 test images are training images, too (1 of them nearly)" in done.output
    identical, near = rows(photos)
    assert identical == ("leakage", "test/bee/copy.jpg", "train/bee/3.jpg", "identical")
    assert near[:3] == ("leakage", "test/bee/again.jpg", "train/bee/3.jpg")
    assert near[3].startswith("similarity 0.99")


def test_a_photo_in_two_classes_is_a_conflict(photos: Path) -> None:
    photo(2).save(photos / "train/bee/other.png")
    done = check(photos)
    assert done.exit_code == 3
    ((name, image, other, detail),) = rows(photos)
    assert (name, image, other) == ("conflict", "train/bee/other.png", "train/ant/2.jpg")
    assert detail.endswith("bee and ant")


def test_known_pairs_are_counted_as_they_are(photos: Path) -> None:
    for number in range(6):
        name = "bee" if number < 4 else "ant"
        content = (photos / f"train/ant/{number}.jpg").read_bytes()
        (photos / f"train/{name}/copy-{number}.jpg").write_bytes(content)
    check(photos)
    assert Counter(row[0] for row in rows(photos)) == {"conflict": 4, "copy": 2}


def test_copies_in_one_class_are_no_problem_but_noted(photos: Path) -> None:
    photo(2).save(photos / "train/ant/other.png")
    done = check(photos)
    assert done.exit_code == 0
    assert "note: 1 image is a copy of another in its class (nearly)" in done.output


def test_all_files_that_can_t_be_read_are_listed_and_stay_as_they_are(photos: Path) -> None:
    damaged = photos / "train/ant/0.jpg"
    damaged.write_bytes(damaged.read_bytes()[:2000])
    (photos / "test/bee/1.jpg").write_bytes(b"")
    before = {file: file.read_bytes() for file in photos.rglob("*.jpg")}
    done = check(photos)
    assert done.exit_code == 3
    assert "problem: 2 of 48 images can't be read" in done.output
    found = {image: detail for name, image, _, detail in rows(photos) if name == "unreadable"}
    assert found["test/bee/1.jpg"] == "it is empty"
    assert "truncated" in found["train/ant/0.jpg"]
    assert {file: file.read_bytes() for file in photos.rglob("*.jpg")} == before


def test_files_that_are_no_images_are_listed_with_those_that_can_t_be_read(photos: Path) -> None:
    (photos / "train/ant/notes.txt").write_text("ants")
    (photos / "labels.xlsx").touch()
    (photos / "test/bee/1.jpg").write_bytes(b"")
    done = check(photos)
    assert done.exit_code == 3
    assert "problem: 3 of 50 images can't be read" in done.output
    assert [row[:2] for row in rows(photos)] == [
        ("unreadable", "labels.xlsx"),
        ("unreadable", "test/bee/1.jpg"),
        ("unreadable", "train/ant/notes.txt"),
    ]


def with_table(photos: Path, group: str) -> Path:
    """A table of the photos with their splits, and the same group for three of them."""
    lines = [f"path,label,split,{group}"]
    for file in sorted(photos.rglob("*.jpg")):
        split, label, name = file.relative_to(photos).parts
        path, in_series = f"{split}/{label}/{name}", name == "3.jpg" and label == "bee"
        lines.append(f"{path},{label},{split},{'hive' if in_series else path}")
    lines[1] = lines[1].rpartition(",")[0] + ",hive"
    (photos / "labels.csv").write_text("\n".join(lines))
    return photos


def test_a_group_in_two_splits_is_leakage(photos: Path) -> None:
    done = check(with_table(photos, "group"))
    assert done.exit_code == 3
    assert "problem: 1 group has images in two splits: move them into one" in done.output
    assert rows(photos) == [("leakage", "", "", "hive: 1 train, 2 test")]


def test_groups_are_those_of_params_where_these_are_about_the_source(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_table(photos, "place")
    monkeypatch.chdir(tmp_path)
    for source, found in ((photos.name, ["hive: 1 train, 2 test"]), ("others", [])):
        tree = tiny_tree(**{"data.source": source, "data.group": "place"})
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(tree))
        check(photos)
        assert [detail for _, _, _, detail in rows(photos)] == found


def test_a_folder_without_a_readable_image_is_one_sentence(photos: Path) -> None:
    for file in photos.rglob("*.jpg"):
        file.write_bytes(b"")
    done = check(photos)
    assert done.exit_code == 1
    assert "none of the images in photos can be read: test/ant/0.jpg (it is empty)" in done.stderr


def test_a_placeholder_is_noted(photos: Path) -> None:
    placeholder().save(photos / "train/ant/not-found.gif")
    done = check(photos)
    assert done.exit_code == 0
    ((name, image, _, detail),) = rows(photos)
    assert (name, image) == ("one_color", "train/ant/not-found.gif")
    assert detail.endswith("% of one color")


def test_drawings_on_white_are_no_placeholders(tmp_path: Path) -> None:
    images = np.full((40, 1, 64, 64), 255, np.uint8)
    random = np.random.default_rng(0)
    for image in images:
        for y, x in random.integers(60, size=(12, 2)):
            image[0, y : y + 4, x : x + 4] = 0
    images[7] = 255
    part = part_from_arrays(images, np.arange(40) % 2, "drawings")
    source = Source("drawings", ("a", "b"), 1, lambda: (64, 64), part, test=part)
    info = prepare(source, tiny_params(**WHOLE).data, tmp_path)
    found = check_images(read_prepared(tmp_path, info))
    (blank,) = (finding for finding in found if finding.name == "one_color")
    assert {example.image for example in blank.examples} == {"drawings/7"}


def test_tiny_files_among_others_are_noted(photos: Path) -> None:
    photo(100, (12, 90)).save(photos / "train/ant/tiny.png")
    check(photos)
    assert rows(photos) == [("tiny", "train/ant/tiny.png", "", "12x90")]


def test_small_and_rare_classes_are_noted(photos: Path) -> None:
    for number in range(4, 12):
        (photos / f"train/ant/{number}.jpg").unlink()
    for number in range(200, 240):
        photo(number).save(photos / f"train/bee/{number}.jpg")
    done = check(photos)
    assert done.exit_code == 0
    assert [(name, detail) for name, _, _, detail in rows(photos)] == [
        ("few", "ant: 4"),
        (
            "imbalance",
            "bee has 52 training images, but ant 4: compare macro_f1, and try train.balance",
        ),
    ]


def test_the_output_fits_a_terminal(photos: Path) -> None:
    deep = photos / "train/ant" / "of a holiday in the mountains" / "on the second day"
    deep.mkdir(parents=True)
    for number in range(5):
        photo(30 + number).save(deep / f"a photo with quite a long name, number {number}.jpg")
    lines = check(photos).stdout.splitlines()
    assert "  ... and 2 more" in lines
    assert max(map(len, lines[:-1])) <= 80


def test_the_same_source_gives_the_same_bytes(photos: Path) -> None:
    photo(2).save(photos / "train/bee/other.png")
    report, found = photos.parent / "report", set()
    for _ in range(2):
        check(photos)
        found.add(tuple((report / n).read_bytes() for n in ("findings.csv", "dataset.png")))
    assert len(found) == 1


def test_the_digits_give_no_findings(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        main, ["check", str(ROOT / "data/digits.yaml"), "--out", str(tmp_path)]
    )
    assert done.exit_code == 0
    assert "nothing was found" in done.output


# ---- in the prepare stage


def prepared_findings(source: Source, folder: Path) -> list[str]:
    info = prepare(source, tiny_params(**WHOLE, **{"data.image_size": 48}).data, folder)
    images = read_prepared(folder, info)
    found = [*check_images(images), *check_prepared(info, load_split(folder, "train").images)]
    return warnings_of(found)


def test_prepared_photos_are_checked_as_their_source_is(photos: Path, tmp_path: Path) -> None:
    photo(15).resize((100, 75)).save(photos / "test/bee/again.jpg", quality=60)
    placeholder().save(photos / "train/ant/not-found.gif")
    leak, blank, few = prepared_findings(open_source(photos, tmp_path), tmp_path / "out")
    assert leak.startswith("1 test image is a ") and "e.g. test/bee/again.jpg = " in leak
    assert blank.startswith("1 image is nearly of one color: blank, or a placeholder?, e.g. ")
    assert few == "1 val image is too few to choose an epoch or params by"


def test_images_that_were_left_out_are_in_the_findings(photos: Path, tmp_path: Path) -> None:
    (photos / "train/ant/0.jpg").write_bytes(b"")
    params = tiny_params(**WHOLE, **{"data.image_size": 48, "data.on_bad_image": "skip"})
    unreadable: list[tuple[str, str]] = []
    source = open_source(photos, tmp_path)
    info = prepare(source, params.data, tmp_path / "out", unreadable)
    assert unreadable == [("train/ant/0.jpg", "it is empty")]
    first = check_images(read_prepared(tmp_path / "out", info, unreadable))[0]
    assert (first.name, first.sentence) == ("unreadable", "1 of 48 images can't be read")


def test_dark_data_gives_a_warning(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 12, (100, 1, 4, 4), np.uint8)
    part = part_from_arrays(images, np.arange(100) % 2, "dark")
    source = Source("dark", ("a", "b"), 1, lambda: (4, 4), part)
    info = prepare(source, tiny_params(**WHOLE).data, tmp_path)
    found = warnings_of(check_prepared(info, load_split(tmp_path, "train").images))
    assert "no pixel is brighter than 11 of 255" in found[-1]
    assert found[-1].endswith("set data.bits=12")


def test_few_validation_images_give_a_warning(tmp_path: Path) -> None:
    source = open_source(ROOT / "data" / "digits.yaml", tmp_path)
    info = prepare(source, tiny_params(**{"data.limit": 60}).data, tmp_path)
    (found,) = warnings_of(check_prepared(info, load_split(tmp_path, "train").images))
    assert found == "12 val images are too few to choose an epoch or params by"


def test_ordinary_data_gives_no_warning(prepared: Path) -> None:
    from reprovision.data.dataset import load_info

    info, train = load_info(prepared), load_split(prepared, "train").images
    assert [*check_images(read_prepared(prepared, info)), *check_prepared(info, train)] == []
