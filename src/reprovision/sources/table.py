"""A folder of images with a table that says what each is: labels.csv, .tsv or .parquet.

Columns: `path`, relative to the folder; `label`; if wanted `split` (train, val or test) and
`group`; others may be there, too. Commas, semicolons or tabs separate the cells. The table lies
beside its images, so that DVC, which tracks the folder, sees a change of either.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from reprovision.core.errors import UserError
from reprovision.core.wording import count, first_ten
from reprovision.data.dataset import SplitName
from reprovision.images.files import SUFFIXES, used_entries
from reprovision.sources.files import common_size, part_of_files
from reprovision.sources.source import Part, Source

TABLES = (".csv", ".tsv", ".parquet")

DELIMITERS = (",", ";", "\t")

MORE_LABELS = re.compile(r"labels?[ _-]?\d*", re.IGNORECASE)
"""Names of columns that may hold further labels of an image."""

SPLIT_NAMES: dict[str, SplitName] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""What people call splits, in any case."""

Columns = dict[str, list[str]]


def find_table(folder: Path) -> Path | None:
    """The table directly in a folder; raises a UserError where there are several."""
    tables = [p for p in used_entries(folder) if p.suffix.lower() in TABLES and p.is_file()]
    if len(tables) > 1:
        names = ", ".join(path.name for path in tables)
        raise UserError(f"{folder} holds the tables {names}: keep the one that names the images")
    return tables[0] if tables else None


def open_table(
    folder: Path,
    table: Path,
    least_classes: int = 2,
    unreadable: list[tuple[str, str]] | None = None,
) -> Source:
    """Opens the images that a table lists; see `open_source` for the arguments.

    Raises:
        UserError: a column is missing, a row is incomplete, a file is missing or listed twice, or
            there are too few classes.
    """
    columns = _read(table)
    _check_columns(table, columns)
    paths = [folder / _inside(table, row, text) for row, text in enumerate(columns["path"])]
    # whoever takes unreadable files finds the missing ones when they are read
    _check_files(table, paths, may_be_missing=unreadable is not None)
    labels, classes = _labels(table, columns["label"], least_classes)
    splits = _splits(table, columns.get("split"), len(paths))

    def part(split: SplitName) -> Part | None:
        rows = np.flatnonzero(splits == split)
        others = {name: [texts[row] for row in rows] for name, texts in columns.items()}
        files = [paths[row] for row in rows]
        return part_of_files(files, labels[rows], folder, others) if len(rows) else None

    train = part("train")
    if train is None:
        raise UserError(f"{table} has no row whose split is train: add some")
    return Source(
        name=folder.name,
        classes=classes,
        channels=3,
        size=lambda: common_size(paths, str(folder)),
        train=train,
        val=part("val"),
        test=part("test"),
        remarks=(*_more_labels(table, columns), *_others(folder, table, paths)),
    )


def _read(table: Path) -> Columns:
    """The columns as texts, without blanks at their ends; an empty cell is an empty text."""
    try:
        if table.suffix.lower() == ".parquet":
            return _read_parquet(table)
        with table.open(newline="", encoding="utf-8-sig") as file:
            delimiter = _delimiter(file.readline(), table)
            file.seek(0)
            rows = list(csv.reader(file, delimiter=delimiter, strict=True))
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(
            f"{table} can't be read ({' '.join(str(error).split())}): save it as UTF-8 text with a "
            "header"
        ) from error
    header, body = (rows[0], [row for row in rows[1:] if row]) if rows else ([], [])
    uneven = [line for line, row in enumerate(body, 2) if len(row) != len(header)]
    if uneven:
        raise UserError(
            f"{table}, row {uneven[0]}: it has not the {len(header)} cells of the header: quote "
            "cells that hold the separator"
        )
    names = [name.strip() for name in header]
    if twice := [name for name in names if name and names.count(name) > 1]:
        raise UserError(f"{table} has two columns {twice[0]}: keep one of them")
    columns = list(zip(*body, strict=True)) or [()] * len(header)
    return {
        name: [cell.strip() for cell in cells] for name, cells in zip(names, columns, strict=True)
    }


def _delimiter(header: str, table: Path) -> str:
    """What separates the cells: that by which the header has a column `path`."""
    usual = "\t" if table.suffix.lower() == ".tsv" else ","
    # Excel writes semicolons where the comma is the decimal point
    for delimiter in (usual, *DELIMITERS):
        names = next(csv.reader([header], delimiter=delimiter), [])
        if "path" in map(str.strip, names):
            return delimiter
    return usual


def _read_parquet(table: Path) -> Columns:
    # comes with MLflow, and takes 0.2 s to import
    from pyarrow import parquet

    read = parquet.read_table(table)
    return {
        name: ["" if cell is None else str(cell).strip() for cell in read.column(name).to_pylist()]
        for name in read.column_names
    }


def _check_columns(table: Path, columns: Mapping[str, Sequence[str]]) -> None:
    found = ", ".join(columns) or "none"
    for needed in ("path", "label"):
        if needed not in columns:
            hint = "; a row has one label, so that tables with a column for each class don't fit"
            raise UserError(
                f"{table} has the columns {found}, but no {needed}: name the columns path and "
                f"label{hint if needed == 'label' and len(columns) > 3 else ''}"
            )
        empty = [row for row, text in enumerate(columns[needed], 2) if not text]
        if empty:
            raise UserError(f"{table}, row {empty[0]}: the {needed} is empty: fill or remove it")
    if not columns["path"]:
        raise UserError(f"{table} lists no images: add some")


def _inside(table: Path, row: int, text: str) -> PurePosixPath:
    """A path of the table, which must stay inside its folder, as that is what DVC tracks."""
    path = PurePosixPath(text.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or path.suffix.lower() not in SUFFIXES:
        raise UserError(
            f"{table}, row {row + 2}: {text} is not the path of an image ({', '.join(SUFFIXES)}) "
            "relative to the table: put the images beside it"
        )
    return path


def _check_files(table: Path, paths: Sequence[Path], may_be_missing: bool) -> None:
    missing = [] if may_be_missing else [str(path) for path in paths if not path.is_file()]
    if missing:
        raise UserError(
            f"{table} lists files that do not exist: add them, or remove their rows: "
            f"{first_ten(missing)}"
        )
    unique, counts = np.unique(np.array(paths, dtype=np.str_), return_counts=True)
    if (counts > 1).any():
        twice = first_ten(unique[counts > 1].tolist())
        raise UserError(
            f"{table} lists {twice} more than once: an image has one label, so keep one row"
        )


def _labels(
    table: Path, names: Sequence[str], least_classes: int
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels (N,) int64, and the classes in order: by number where all are numbers."""
    unique = sorted(set(names))
    if all(name.isascii() and name.isdigit() for name in unique):
        unique.sort(key=int)
    if len(unique) < least_classes:
        raise UserError(f"{table} has the single label {unique[0]}: two or more are needed")
    index = {name: label for label, name in enumerate(unique)}
    return np.array([index[name] for name in names], np.int64), tuple(unique)


def _splits(table: Path, texts: Sequence[str] | None, count: int) -> np.ndarray:
    """The split of each row, (N,) texts; without a column all are train."""
    if texts is None:
        return np.full(count, "train")
    for row, text in enumerate(texts, 2):
        if text.lower() not in SPLIT_NAMES:
            raise UserError(f"{table}, row {row}: split is {text!r}: use train, val or test")
    return np.array([SPLIT_NAMES[text.lower()] for text in texts])


def _more_labels(table: Path, columns: Columns) -> Iterator[str]:
    for name in columns:
        if name != "label" and MORE_LABELS.fullmatch(name):
            yield (
                f"the column {name} of {table} is not used: an image has one label, that in the "
                "column label"
            )


def _others(folder: Path, table: Path, paths: Sequence[Path]) -> Iterator[str]:
    listed = set(paths)
    others = sum(
        path.suffix.lower() in SUFFIXES and path not in listed for path in folder.rglob("*")
    )
    if others:
        are = "is" if others == 1 else "are"
        yield f"{count(others, 'image')} beside {table} {are} not listed in it"
