"""Parts of sentences: numbers with nouns, and what a mistyped name may have meant."""

import pytest

from reprovision.core.wording import count, did_you_mean


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (0, "image", "0 images"),
        (1, "image", "1 image"),
        (1200, "val image", "1,200 val images"),
        (1, "class", "1 class"),
        (2, "class", "2 classes"),
    ],
)
def test_a_noun_has_the_number_that_is_before_it(number: int, noun: str, text: str) -> None:
    assert count(number, noun) == text


@pytest.mark.parametrize(
    ("name", "hint"),
    [("Ants", "; did you mean ants?"), ("been", "; did you mean bees?"), ("wasps", "")],
)
def test_a_similar_name_is_proposed_and_no_other(name: str, hint: str) -> None:
    assert did_you_mean(name, ("ants", "bees")) == hint
