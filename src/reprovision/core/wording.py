"""Parts of sentences: numbers with their nouns, lists of names, the name that was meant."""

from collections.abc import Iterable, Sequence
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


def first_ten(names: Sequence[str]) -> str:
    """A list for a sentence; of many names, the first ten and the number of others."""
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(names[:10]) + more
