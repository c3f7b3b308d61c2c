"""A folder of images: a folder for each class, or train/, val/ and test/ folders of those."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from reprovision.core.errors import UserError
from reprovision.sources.imaging import read_image
from reprovision.sources.source import Part, Shape, Source

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}


def open_folder(path: Path) -> Source:
    """Opens FOLDER/CLASS/IMAGE, or FOLDER/{train,val,test}/CLASS/IMAGE; val and test may lack.

    Raises:
        UserError: there are fewer than two classes, or a file is not an image.
    """
    split = (path / "train").is_dir()
    parts = {name: path / name for name in ("train", "val", "test")} if split else {"train": path}
    others = [name for name in _subfolders(path) if split and name not in parts]
    if others:
        raise UserError(
            f"{path} holds {', '.join(others)} beside train: name the parts train, val and test, "
            "and move everything else elsewhere"
        )
    classes = tuple(_subfolders(parts["train"]))
    if len(classes) < 2:
        raise UserError(
            f"{path} holds {len(classes)} class folders: put the images of each class "
            "in a folder of its own, named after the class, two or more of them"
        )
    opened = {
        name: _open_part(path, part, classes) for name, part in parts.items() if part.is_dir()
    }
    return Source(path.name, classes, None, opened["train"], opened.get("val"), opened.get("test"))


def _open_part(root: Path, part: Path, classes: tuple[str, ...]) -> Part:
    unknown = set(_subfolders(part)) - set(classes)
    if unknown:
        raise UserError(f"{part} holds the class {min(unknown)}, which train does not have")
    found = [(file, label) for label, name in enumerate(classes) for file in _images(part / name)]
    if not found:
        raise UserError(f"{part} holds no images: their names end in {', '.join(sorted(SUFFIXES))}")
    files = [file for file, _ in found]
    labels = np.array([label for _, label in found], np.int64)

    def origin(row: int) -> str:
        return _origin(files[row].relative_to(root))

    return Part(labels, origin, partial(_read, files))


def _origin(path: Path) -> str:
    """A file's name on one line of UTF-8, which a file system does not demand."""
    text = path.as_posix().encode("utf-8", "backslashreplace").decode()
    return text if text.isprintable() else repr(text)[1:-1]


def _subfolders(path: Path) -> list[str]:
    return sorted(p.name for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    strange = [file for file in files if file.suffix.lower() not in SUFFIXES]
    if strange:
        raise UserError(
            f"{_some(strange)} in a class folder is no known kind of image "
            f"({', '.join(sorted(SUFFIXES))}): move it elsewhere"
        )
    return files


def _read(files: list[Path], shape: Shape) -> Iterator[np.ndarray]:
    bad: list[str] = []

    def read(file: Path) -> np.ndarray:
        try:
            return read_image(file, shape)
        except UserError as error:
            bad.append(f"{file} ({error})")
            return np.zeros((shape.channels, shape.height, shape.width), np.uint8)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(files), shape.chunk):
            yield np.stack(list(pool.map(read, files[start : start + shape.chunk])))
    if bad:
        raise UserError(
            f"{len(bad)} of {len(files)} images can't be read: {_some(sorted(bad))}: "
            "repair or remove them"
        )


def _some(things: list[Path] | list[str]) -> str:
    shown = ", ".join(str(thing) for thing in things[:10])
    return shown if len(things) <= 10 else f"{shown} and {len(things) - 10} more"
