"""Which files count as images, and which nobody means."""

import re
from pathlib import Path

SUFFIXES = (
    *(".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm"),
    *(".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
)

IGNORED = re.compile(r"\..*|__MACOSX|thumbs\.db|desktop\.ini", re.IGNORECASE)
"""What systems and programs leave beside images: hidden files and folders, archives' metadata."""

IGNORED_FILES = re.compile(r"(readme|licen[cs]e)(\..*)?", re.IGNORECASE)


def used_entries(path: Path) -> list[Path]:
    """What a folder holds, in order, without what is ignored."""

    def is_used(entry: Path) -> bool:
        is_document = IGNORED_FILES.fullmatch(entry.name) and entry.is_file()
        return not IGNORED.fullmatch(entry.name) and not is_document

    # as texts: comparing paths takes longer than reading small images
    return sorted(filter(is_used, path.iterdir()), key=str)
