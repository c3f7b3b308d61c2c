"""A table beside its images: what each column means, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from PIL import Image
from project import tiny_params
from pyarrow import parquet

from reprovision.core.errors import UserError
from reprovision.data.dataset import SPLITS, load_info, load_origins, load_split
from reprovision.sources import open_source
from reprovision.sources.prepare import prepare

ROWS = [
    (f"images/{number:02}.png", "red" if number % 2 else "dark, green", f"box {number // 4}")
    for number in range(40)
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Forty pictures, by turns of two colours, no two of them alike."""
    for number, (path, label, _) in enumerate(ROWS):
        file = tmp_path / "parts" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        red, green = (255, number) if label == "red" else (number, 100)
        Image.new("RGB", (8, 8), (red, green, 0)).save(file)
    return tmp_path / "parts"


def as_csv(folder: Path, header: str, *lines: str, name: str = "labels.csv") -> None:
    (folder / name).write_text("\n".join([header, *lines, ""]), encoding="utf-8-sig")


def prepared(folder: Path, **params: object) -> Path:
    out = folder.parent / "out"
    given = {"data.limit": None} | params
    prepare(open_source(folder, folder.parent), tiny_params(**given).data, out)
    return out


def labels_of(out: Path) -> dict[str, str]:
    names = load_info(out).classes
    return {
        origin: names[label]
        for split in SPLITS
        for origin, label in zip(
            load_origins(out, split), load_split(out, split).labels, strict=True
        )
    }


def write_csv(folder: Path) -> None:
    as_csv(folder, "path,label,group", *(f'{p},"{label}",{g}' for p, label, g in ROWS))


def write_tsv(folder: Path) -> None:
    lines = ("\t".join(row) for row in ROWS)
    as_csv(folder, "path\tlabel\tgroup", *lines, name="labels.TSV")


def write_parquet(folder: Path) -> None:
    columns = dict(zip(("path", "label", "group"), zip(*ROWS, strict=True), strict=True))
    parquet.write_table(pyarrow.table(columns), folder / "labels.parquet")


def write_as_excel(folder: Path) -> None:
    """Where the comma is the decimal point: semicolons, a BOM, and blanks as people leave them."""
    lines = (f"{p} ; {label}  ;{g}{' ' * (i % 2)};0,5" for i, (p, label, g) in enumerate(ROWS))
    as_csv(folder, "path;label; group ;weight, in g", *lines)


def write_tabs(folder: Path) -> None:
    as_csv(folder, "path\tlabel\tgroup", *("\t".join(row) for row in ROWS))


@pytest.mark.parametrize("write", [write_csv, write_tsv, write_parquet, write_as_excel, write_tabs])
def test_a_table_gives_labels_and_groups(write: Callable[[Path], None], folder: Path) -> None:
    write(folder)
    out = prepared(folder)
    assert labels_of(out) == {path: label for path, label, _ in ROWS}
    assert load_info(out).classes == ("dark, green", "red")
    split_of = {origin: split for split in SPLITS for origin in load_origins(out, split)}
    for group in {group for *_, group in ROWS}:
        assert len({split_of[path] for path, _, g in ROWS if g == group}) == 1


def test_a_table_gives_splits(folder: Path) -> None:
    names = ("Training", "valid", "test")
    lines = (f'{row[0]},"{row[1]}",{names[i % 3]}' for i, row in enumerate(ROWS))
    as_csv(folder, "path,label,split", *lines)
    out = prepared(folder)
    for index, split in enumerate(SPLITS):
        assert load_origins(out, split) == [row[0] for row in ROWS[index::3]]


def test_labels_that_are_numbers_are_in_their_order(folder: Path) -> None:
    as_csv(folder, "path,label", *(f"{row[0]},{8 + i % 4}" for i, row in enumerate(ROWS)))
    assert load_info(prepared(folder)).classes == ("8", "9", "10", "11")


def test_images_that_the_table_does_not_list_are_counted(folder: Path) -> None:
    as_csv(folder, "path,label", *(f"{row[0]},{i % 2}" for i, row in enumerate(ROWS[:30])))
    source = open_source(folder, folder)
    assert source.remarks == (f"10 images beside {folder / 'labels.csv'} are not listed in it",)


def test_columns_that_may_hold_more_labels_are_named(folder: Path) -> None:
    lines = (f"{row[0]},{i % 2},cat,3" for i, row in enumerate(ROWS))
    as_csv(folder, "path,label,label2,camera", *lines)
    (remark,) = open_source(folder, folder).remarks
    assert remark.startswith("the column label2 of ")
    assert remark.endswith(
        "labels.csv is not used: an image has one label, that in the column label"
    )


def test_one_label_is_enough_where_a_model_knows_more(folder: Path) -> None:
    as_csv(folder, "path,label", *(f"{row[0]},red" for row in ROWS))
    assert open_source(folder, folder, least_classes=1).classes == ("red",)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["file,label", "images/00.png,a"], "has the columns file, label, but no path: name the"),
        (["path,cat,dog,bird", "images/00.png,1,0,1"], "no label: .* a column for each class"),
        (["path,label"], "lists no images"),
        (
            ["path;label,label", "images/00.png;a,a"],
            "has the columns path, label,label, but no label",
        ),
        (["path,label,label", "images/00.png,a,b"], "has two columns label: keep one"),
        (["path,label", "images/00.png,"], "row 2: the label is empty"),
        (["path,label", "images/00.png,a,b"], "row 2: it has not the 2 cells of the header"),
        (["path,label", "images/99.png,a"], r"lists files that do not exist: .*images/99\.png"),
        (["path,label", "../a.png,a"], r"row 2: \.\./a\.png is not the path of an image"),
        (["path,label", "labels.csv,a"], r"row 2: labels\.csv is not the path of an image"),
        (
            ["path,label", "images/00.png,a", "images/00.png,b"],
            r"lists .*00\.png more than once: an image has one label",
        ),
        (["path,label", "images/00.png,a", "images/01.png,a"], "has the single label a"),
        (
            ["path,label,split", "images/00.png,a,holdout", "images/01.png,b,train"],
            "row 2: split is 'holdout': use train, val or test",
        ),
        (
            ["path,label,split", "images/00.png,a,test", "images/01.png,b,test"],
            "has no row whose split is train",
        ),
        (["path,label", '"images/00.png,a'], "can't be read"),
    ],
)
def test_a_wrong_table_is_one_sentence(lines: list[str], message: str, folder: Path) -> None:
    as_csv(folder, *lines)
    with pytest.raises(UserError, match=rf"labels\.csv.*{message}") as caught:
        open_source(folder, folder)
    assert "\n" not in str(caught.value)


def test_a_parquet_file_that_is_none_is_refused(folder: Path) -> None:
    (folder / "labels.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(UserError, match=r"labels\.parquet can't be read \("):
        open_source(folder, folder)


def test_two_tables_are_refused(folder: Path) -> None:
    for name in ("a.csv", "b.tsv"):
        (folder / name).touch()
    with pytest.raises(UserError, match=r"holds the tables a\.csv, b\.tsv: keep the one"):
        open_source(folder, folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("photos.zip", r"is the archive .*photos\.zip: unpack it"),
        ("labels.csv", r"is the table .*labels\.csv: use its folder, "),
        ("photo.jpg", r"is the image .*photo\.jpg: use a folder"),
    ],
)
def test_other_things_that_people_try_are_explained(
    name: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).touch()
    with pytest.raises(UserError, match=message):
        open_source(tmp_path / name, tmp_path)


# ---- classes and bad images, of any source


def test_classes_can_be_chosen_and_ordered(folder: Path) -> None:
    as_csv(folder, "path,label", *(f"{row[0]},{'abcd'[i % 4]}" for i, row in enumerate(ROWS)))
    whole = labels_of(prepared(folder))
    out = prepared(folder, **{"data.classes": ["c", "a"]})
    assert load_info(out).classes == ("c", "a")
    assert labels_of(out) == {path: name for path, name in whole.items() if name in "ac"}


@pytest.mark.parametrize("names", [["a", "e"], ["a", "a"]])
def test_classes_that_do_not_exist_are_refused(names: list[str], folder: Path) -> None:
    as_csv(folder, "path,label", *(f"{row[0]},{'abcd'[i % 4]}" for i, row in enumerate(ROWS)))
    with pytest.raises(UserError, match=r"data\.classes must be different ones of a, b, c, d"):
        prepared(folder, **{"data.classes": names})


def test_images_that_can_t_be_read_can_be_left_out(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(folder)
    whole = labels_of(prepared(folder))
    damaged = ("images/03.png", "images/30.png")
    for path in damaged:
        (folder / path).write_bytes(path.encode())
    out = prepared(folder, **{"data.on_bad_image": "skip"})
    assert labels_of(out) == {path: name for path, name in whole.items() if path not in damaged}
    assert np.load(out / "train" / "images.npy").shape[1:] == (3, 8, 8)
    warned = capsys.readouterr().err
    assert warned.startswith("warning: 2 of 40 images in parts can't be read and are left out: ")
    assert "images/03.png (it is not an image" in warned


def test_a_class_that_loses_all_images_is_named(folder: Path) -> None:
    write_csv(folder)
    for path, label, _ in ROWS:
        if label == "red":
            (folder / path).write_bytes(path.encode())
    with pytest.raises(UserError, match="there are no training images of red: add some"):
        prepared(folder, **{"data.on_bad_image": "skip", "data.image_size": 8})
