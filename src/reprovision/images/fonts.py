"""The fonts of all pictures, from packages only: a system's would change their bytes.

DejaVu Sans comes with matplotlib. Noto Sans CJK has Chinese, Japanese and Korean, where the extra
`cjk` is installed.
"""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import matplotlib as mpl
from matplotlib.ft2font import FT2Font


@cache
def font_files() -> tuple[Path, ...]:
    """The files of the fonts; a character comes from the first that has it."""
    dejavu = Path(mpl.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    try:
        from noto_cjk import FontNotInstalled, otc_path
    except ModuleNotFoundError:
        return (dejavu,)
    try:
        return dejavu, Path(otc_path("sans"))
    except FontNotInstalled:
        return (dejavu,)


@cache
def font_families() -> list[str]:
    """The same by their names in matplotlib, to which they are added."""
    # lists the system's fonts, too
    from matplotlib import font_manager

    _, *added = font_files()
    for file in added:
        font_manager.fontManager.addfont(file)
    return ["DejaVu Sans", *(FT2Font(str(file)).family_name for file in added)]


def font_file_for(text: str) -> Path:
    """The file of the font that has the most characters of a text."""
    return max(font_files(), key=lambda file: len(set(text)) - len(_missing(text, file)))


def missing_characters(texts: Iterable[str]) -> set[str]:
    """The characters that no font has."""
    text = "".join(texts)
    return set.intersection(*(_missing(text, file) for file in font_files()))


def _missing(text: str, file: Path) -> set[str]:
    known = _characters(file)
    return {character for character in text if ord(character) not in known}


@cache
def _characters(file: Path) -> frozenset[int]:
    return frozenset(FT2Font(str(file)).get_charmap())
