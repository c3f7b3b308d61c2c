"""Parts of sentences: numbers with their nouns, and names that a mistyped one may have meant."""

from collections.abc import Iterable
from difflib import get_close_matches


def count(number: int, noun: str) -> str:
    """A number with its noun: `1 image`, `3 images`, `2 classes`."""
    plural = "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{'' if number == 1 else plural}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean cat?` of the known name that is most like another; empty without any.

    Upper and lower case make no difference.
    """
    by_folded = {one.casefold(): one for one in known}
    nearest = get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.6)
    return f"; did you mean {by_folded[nearest[0]]}?" if nearest else ""
