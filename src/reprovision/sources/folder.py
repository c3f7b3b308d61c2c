"""A folder of images: one folder per class, or folders named after splits that hold those.

Everything below it is used, ignored for a documented reason (see `images/files.py`), or named in an
error: nothing that a user believes to be in the data is left out in silence.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reprovision.core.errors import UserError
from reprovision.core.wording import first_ten
from reprovision.data.dataset import SplitName
from reprovision.images.files import SUFFIXES, used_entries
from reprovision.sources.files import common_size, one_line, part_of_files
from reprovision.sources.source import Part, Source
from reprovision.sources.table import SPLIT_NAMES


def open_folder(
    path: Path, least_classes: int = 2, unreadable: list[tuple[str, str]] | None = None
) -> Source:
    """Opens FOLDER/CLASS/IMAGE, or FOLDER/SPLIT/CLASS/IMAGE; val and test are optional.

    See `open_source` for the arguments.

    Raises:
        UserError: there are too few classes, a class without images, or something that is neither
            an image nor ignored.
    """
    strays: dict[Path, str] | None = None if unreadable is None else {}
    parts = _find_splits(path, strays)
    classes = tuple(folder.name for folder in _folders(parts["train"], strays))
    if len(classes) < max(1, least_classes):
        raise UserError(
            f"{path} has class folders: {', '.join(classes) or 'none'}: put the images of each "
            "class in a folder named after the class, two or more of them"
        )
    files = {name: _list_images(part, classes, strays) for name, part in parts.items()}
    if unreadable is not None and strays:
        unreadable += [(one_line(file.relative_to(path)), why) for file, why in strays.items()]
    opened = {name: _part(path, by_class) for name, by_class in files.items()}
    return Source(
        name=path.name,
        classes=classes,
        channels=3,
        size=lambda: common_size(
            [file for part in files.values() for file in _flat(part)], str(path)
        ),
        train=opened["train"],
        val=opened.get("val"),
        test=opened.get("test"),
    )


def _find_splits(path: Path, strays: dict[Path, str] | None) -> dict[SplitName, Path]:
    """The folders of splits; without any, the whole folder is train."""
    folders = _folders(path, strays)
    named: dict[SplitName, Path] = {}
    for folder in folders:
        split = SPLIT_NAMES.get(folder.name.lower())
        if split in named:
            raise UserError(f"{path} holds {named[split].name} and {folder.name}: keep one of them")
        if split:
            named[split] = folder
    others = [folder.name for folder in folders if folder not in named.values()]
    if named and ("train" not in named or others):
        raise UserError(
            f"{path} holds {', '.join(folder.name for folder in folders)}: name the splits train, "
            "val and test, with train among them, and move everything else elsewhere"
        )
    if not named and _look_like_splits(folders):
        raise UserError(
            f"{path} holds {', '.join(folder.name for folder in folders)}, with the same folders "
            "in each: if they are splits, name them train, val and test; if they are classes, "
            "put their images directly into them"
        )
    return named or {"train": path}


def _look_like_splits(folders: Sequence[Path]) -> bool:
    """Whether all hold the same two or more folders, and nothing else."""
    held = []
    for folder in folders:
        entries = used_entries(folder)
        if not all(entry.is_dir() for entry in entries):
            return False
        held.append([entry.name for entry in entries])
    return len(held) > 1 and len(held[0]) > 1 and held.count(held[0]) == len(held)


def _list_images(
    part: Path, classes: Sequence[str], strays: dict[Path, str] | None
) -> list[list[Path]]:
    """The images of each class in the folder of a split."""
    unknown = {folder.name for folder in _folders(part, strays)} - set(classes)
    if unknown:
        raise UserError(f"{part} holds the class {min(unknown)}, which train does not have")
    images = {
        name: _images(part / name, strays) if (part / name).is_dir() else [] for name in classes
    }
    missing = [str(part / name) for name, files in images.items() if not files]
    if missing:
        raise UserError(
            f"{first_ten(missing)}: no images there, whose names end in {', '.join(SUFFIXES)}: "
            "add some, or remove the class from all splits"
        )
    return list(images.values())


def _part(root: Path, by_class: Sequence[Sequence[Path]]) -> Part:
    counts = [len(files) for files in by_class]
    labels = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    return part_of_files(_flat(by_class), labels, root)


def _flat(by_class: Sequence[Sequence[Path]]) -> list[Path]:
    return [file for files in by_class for file in files]


def _folders(path: Path, strays: dict[Path, str] | None) -> list[Path]:
    """The folders in a folder that holds nothing else; `strays` gets the files, with the reason."""
    entries = used_entries(path)
    loose = [entry for entry in entries if not entry.is_dir()]
    if loose and strays is None:
        names = first_ten(list(map(str, loose)))
        raise UserError(f"{names}: not in a class folder: move it into one, or elsewhere")
    if strays is not None:
        strays |= dict.fromkeys(loose, "it is not in a class folder")
    return [entry for entry in entries if entry.is_dir()]


def _images(folder: Path, strays: dict[Path, str] | None) -> list[Path]:
    """All images below a folder, in order; `strays` gets the other files, with the reason."""
    files: list[Path] = []
    entries = used_entries(folder)
    while entries:
        entry = entries.pop()
        if not entry.is_dir():
            files.append(entry)
        elif entry.resolve() in (entry.parent.resolve(), *entry.parent.resolve().parents):
            raise UserError(f"{entry} links to a folder that it is in: remove it")
        else:
            entries += used_entries(entry)
    files.sort()
    others = [file for file in files if file.suffix.lower() not in SUFFIXES]
    if others and strays is None:
        raise UserError(
            f"a class folder holds files that are not images ({', '.join(SUFFIXES)}): "
            f"move {first_ten(list(map(str, others)))} elsewhere"
        )
    if strays is not None:
        strays |= dict.fromkeys(others, "its name is not that of an image: move it elsewhere")
    return [file for file in files if file.suffix.lower() in SUFFIXES]
