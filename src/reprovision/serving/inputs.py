"""What `reprovision predict` is asked about: image files, folders of them, standard input."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from reprovision.core.errors import UserError, printable
from reprovision.images.files import SUFFIXES, used_entries
from reprovision.images.preprocessing import MAX_BYTES
from reprovision.serving.predictor import Image

STDIN = "-"


def find_images(arguments: Sequence[str]) -> list[tuple[str, Image]]:
    """Images with their names: named files whatever they are, and the images in folders.

    Files in a folder count as images by the end of their name, because cameras and programs leave
    others beside them; a line on stderr counts those. `-` is the content of standard input.

    Raises:
        UserError: there is no image.
    """
    found: list[tuple[str, Image]] = []
    others: list[Path] = []
    for argument in arguments:
        if argument == STDIN:
            found.append((STDIN, _read_stdin()))
        elif Path(argument).is_dir():
            for file in _files(Path(argument)):
                if file.suffix.lower() in SUFFIXES:
                    found.append((str(file), file))
                else:
                    others.append(file)
        else:
            found.append((argument, Path(argument)))
    if others:
        endings = ", ".join(sorted({file.suffix.lower() or "no ending" for file in others})[:10])
        files = "1 file" if len(others) == 1 else f"{len(others):,} files"
        print(printable(f"left out {files} not named like images ({endings})"), file=sys.stderr)
    if not found:
        raise UserError(f"there are no images in {', '.join(arguments)}: name image files")
    return found


def _files(folder: Path) -> Iterator[Path]:
    for entry in used_entries(folder):
        if entry.is_dir():
            yield from _files(entry)
        else:
            yield entry


def _read_stdin() -> bytes:
    content = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise UserError(f"standard input is larger than {MAX_BYTES // 2**20} MiB: scale it down")
    return content
