"""A folder of images: one folder per class, or train/, val/ and test/ folders of those."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from reprovision.core.errors import UserError
from reprovision.core.memory import chunks
from reprovision.images.decoding import Shape, read_image
from reprovision.sources.source import Part, Source

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


def open_folder(path: Path) -> Source:
    """Opens FOLDER/CLASS/IMAGE, or FOLDER/{train,val,test}/CLASS/IMAGE; val and test are optional.

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
            f"{path} has class folders: {', '.join(classes) or 'none'}: put the images of each "
            "class in a folder named after the class, two or more of them"
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
        raise UserError(f"{part} holds no images: their names end in {', '.join(SUFFIXES)}")
    files = [file for file, _ in found]
    labels = np.array([label for _, label in found], np.int64)
    return Part(
        labels,
        origin=lambda row: _one_line(files[row].relative_to(root)),
        read=lambda shape: _read(files, shape),
    )


def _one_line(path: Path) -> str:
    """A file's name on one line of valid UTF-8, neither of which file systems guarantee."""
    text = path.as_posix().encode("utf-8", "backslashreplace").decode()
    return text if text.isprintable() else repr(text)[1:-1]


def _subfolders(path: Path) -> list[str]:
    return sorted(p.name for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))


def _images(folder: Path) -> list[Path]:
    files: list[Path] = []
    for root, folders, names in os.walk(folder):
        # what lies in a hidden folder is hidden, too: Jupyter keeps copies of images there
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [Path(root, name) for name in names if not name.startswith(".")]
    files.sort()
    others = [str(file) for file in files if file.suffix.lower() not in SUFFIXES]
    if others:
        raise UserError(
            f"a class folder holds files that are not images ({', '.join(SUFFIXES)}): "
            f"move {_first_ten(others)} elsewhere"
        )
    return files


def _read(files: list[Path], shape: Shape) -> Iterator[np.ndarray]:
    """Yields all images in chunks (n, C, H, W); raises a UserError that lists unreadable ones."""
    bad: list[str] = []

    def read(file: Path) -> np.ndarray:
        try:
            return read_image(file, shape)
        except UserError as error:
            bad.append(f"{file} ({error})")
            return np.zeros((shape.channels, shape.height, shape.width), np.uint8)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for rows in chunks(len(files), shape.bytes):
            yield np.stack(list(pool.map(read, files[rows])))
    if bad:
        raise UserError(
            f"{len(bad)} of {len(files)} images can't be read: {_first_ten(sorted(bad))}: "
            "repair or remove them"
        )


def _first_ten(names: Sequence[str]) -> str:
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(names[:10]) + more
