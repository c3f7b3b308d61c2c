"""Answers as text, JSON and CSV."""

import csv
import json

import numpy as np

from reprovision.serving.output import csv_header, csv_line, json_line, most_probable, text_for

BEST = [("bee", 0.87654321), ("ant", 0.12345679)]


def test_the_most_probable_classes_come_first_with_six_digits() -> None:
    probabilities = np.array([0.1234567, 0.0000000123456789, 0.8765433], np.float32)
    best = most_probable(("ant", "wasp", "bee"), probabilities, 3)
    assert best == [("bee", 0.876543), ("ant", 0.123457), ("wasp", 1.23457e-08)]


def test_equal_probabilities_keep_the_order_of_the_classes() -> None:
    best = most_probable(("ant", "bee"), np.array([0.5, 0.5], np.float32), 1)
    assert best == [("ant", 0.5)]


def test_many_images_have_a_line_each_in_columns() -> None:
    show = text_for(["a.jpg", "bc.jpg"], ("ant", "honeybee"), 2, 80)
    assert show("a.jpg", [("ant", 1.0), ("honeybee", 0.0)]) == (
        "a.jpg   ant       100.00%  honeybee    0.00%"
    )
    assert show("bc.jpg", [("honeybee", 0.5), ("ant", 0.5)]) == (
        "bc.jpg  honeybee   50.00%  ant        50.00%"
    )


def test_characters_of_double_width_count_twice() -> None:
    show = text_for(["a.jpg", "b.jpg"], ("蚂蚁", "bee"), 1, None)
    assert show("a.jpg", [("蚂蚁", 0.9)]) == "a.jpg  蚂蚁   90.00%"
    assert show("b.jpg", [("bee", 0.9)]) == "b.jpg  bee    90.00%"


def test_one_image_has_its_classes_below_each_other() -> None:
    show = text_for(["a.jpg"], ("ant", "bee"), 2, 80)
    assert show("a.jpg", BEST) == "a.jpg\n  bee   87.65%\n  ant   12.35%"


def test_so_have_many_if_most_do_not_fit_into_a_line() -> None:
    images = ["a.jpg", "b.jpg"]
    needed = len(text_for(images, ("ant", "bee"), 2, None)("a.jpg", BEST))
    assert "\n" not in text_for(images, ("ant", "bee"), 2, needed)("a.jpg", BEST)
    assert "\n" in text_for(images, ("ant", "bee"), 2, needed - 1)("a.jpg", BEST)
    # in a pipe, never
    assert "\n" not in text_for(["a" * 500] * 2, ("ant", "bee"), 2, None)("a" * 500, BEST)


def test_a_long_name_lengthens_no_line_but_its_own() -> None:
    show = text_for(["a.jpg", "b.jpg", "c" * 100], ("ant", "bee"), 1, 80)
    assert show("a.jpg", BEST[:1]) == "a.jpg  bee   87.65%"
    assert show("c" * 100, BEST[:1]) == "c" * 100 + "  bee   87.65%"


def test_csv_has_a_line_per_image_whatever_its_name() -> None:
    names = ["a,b.jpg", 'say "hi".jpg', "new\nline\r.jpg", "=1.jpg"]
    lines = [csv_header(2), *(csv_line(name, BEST) for name in names)]
    assert not any(character in line for line in lines for character in "\n\r")
    rows = list(csv.DictReader(lines))
    assert [row["image"] for row in rows] == [
        "a,b.jpg",
        'say "hi".jpg',
        "new�line�.jpg",
        "=1.jpg",
    ]
    assert {row["predicted_2"]: float(row["confidence_2"]) for row in rows} == {"ant": 0.12345679}


def test_json_names_the_classes_in_order() -> None:
    found = json.loads(json_line("é\n.jpg", BEST))
    assert found["image"] == "é\n.jpg"
    assert [(c["class"], c["probability"]) for c in found["classes"]] == BEST
