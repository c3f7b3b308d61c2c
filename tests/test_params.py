"""params.yaml: what is accepted, and what is said about the rest."""

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from project import ROOT, changed, tiny_params, tiny_tree

from reprovision.core.errors import UserError
from reprovision.core.params import Params, flatten, load_params, parse_section


def refusal(tree: Any) -> str:
    with pytest.raises(UserError) as caught:
        parse_section(Params, tree, "params.yaml")
    return str(caught.value)


def test_the_params_in_the_repository_are_valid() -> None:
    load_params(ROOT / "params.yaml")


def test_every_key_in_the_repository_says_why_it_has_its_value() -> None:
    lines = (ROOT / "params.yaml").read_text().splitlines()
    keys = [line for line in lines if ":" in line and not line.startswith("#")]
    sections = [line for line in keys if line.endswith(":")]
    assert [line for line in keys if "  # " not in line and line not in sections] == []


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("train.lr", "abc", "'abc', but must be a number above 0"),
        ("train.lr", None, "empty, but must be a number above 0"),
        ("train.lr", -0.1, "-0.1, but must be a number above 0"),
        ("train.lr", True, "True, but must be a number above 0"),
        ("train.lr", math.nan, "nan, but must be a number above 0"),
        ("train.lr", [1], "[1], but must be a number above 0"),
        ("train.epochs", 0, "0, but must be a whole number of at least 1"),
        ("train.epochs", 1.5, "1.5, but must be a whole number of at least 1"),
        ("train.epochs", "ten", "'ten', but must be a whole number of at least 1"),
        ("train.batch_size", -5, "-5, but must be a whole number of at least 1"),
        ("data.image_size", -8, "-8, but must be a whole number from 4 to 1024 or null"),
        ("data.val_fraction", 1.5, "1.5, but must be a number of at least 0 and below 1"),
        ("data.channels", 2, "2, but must be 1, 3 or null"),
        ("data.source", "", "'', but must be text, not empty"),
        ("data.source", 5, "5, but must be text, not empty"),
        ("model.name", "resnet", "'resnet', but must be 'mlp' or 'cnn'"),
        ("model.hidden", 16, "16, but must be a list of 0 to 100 values, each a whole number"),
        ("model.hidden[1]", [16, 0], "0, but must be a whole number from 1 to 100000"),
        ("model.conv", None, "empty, but must be `key: value` lines"),
        ("model.conv.channels", [], "[], but must be a list of 1 to 10 values, each"),
        ("model.conv.batch_norm", "maybe", "'maybe', but must be true or false"),
        ("train.threads", "many", "'many', but must be a whole number of at least 1 or 'auto'"),
        ("train.threads", 0, "0, but must be a whole number of at least 1 or 'auto'"),
        ("train.betas[1]", [0.9, 2], "2, but must be a number of at least 0 and below 1"),
        ("train.betas", [0.9] * 3, "[0.9, 0.9, 0.9], but must be a list of 2 values, each a"),
        ("track.model_name", "a/b", "'a/b', but must be text that matches ^[^/:']+$"),
        ("seed", -1, "-1, but must be a whole number of at least 0 and below 4294967296"),
        ("train", 3, "3, but must be `key: value` lines"),
    ],
)
def test_a_wrong_value_is_named_with_its_key_and_what_is_allowed(
    key: str, value: Any, sentence: str
) -> None:
    said = refusal(tiny_tree(**{key.partition("[")[0]: value}))
    assert said.startswith(f"params.yaml: {key} is {sentence}"), said
    assert ";" not in said, "each problem is told once"


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("train.lrr", "train.lrr is not a known key: did you mean train.lr?"),
        (
            "train.learning_rate",
            "train.learning_rate is not a known key: the known ones there are train.epochs, ",
        ),
        ("model.conv.kernal_size", "did you mean model.conv.kernel_size?"),
        ("sede", "did you mean seed?"),
        ("lr", "lr is not a known key: did you mean train.lr?"),
        ("train.augment.foo", "the known ones there are train.augment."),
    ],
)
def test_a_mistyped_key_is_named_with_the_one_that_was_meant(key: str, sentence: str) -> None:
    assert sentence in refusal(tiny_tree(**{key: 1}))


def test_a_missing_key_is_named() -> None:
    tree = tiny_tree()
    del tree["train"]["lr"]
    assert refusal(tree) == "params.yaml: train.lr is missing: add it"


@pytest.mark.parametrize("tree", [None, [], "text", 3])
def test_a_file_without_keys_is_refused(tree: Any) -> None:
    assert "must hold `key: value` lines" in refusal(tree)


def test_what_can_t_work_together_is_refused() -> None:
    assert "train.keep=best needs validation images" in refusal(
        tiny_tree(**{"data.val_fraction": 0})
    )
    assert "model.conv.kernel_size must be" in refusal(
        tiny_tree(**{"model.conv.kernel_size": [3, 3]})
    )
    assert "model.conv.padding=same needs an odd model.conv.kernel_size, not 4" in refusal(
        tiny_tree(**{"model.conv.kernel_size": 4})
    )
    assert "train.nesterov=true needs" in refusal(
        tiny_tree(**{"train.nesterov": True, "train.momentum": 0})
    )


def test_numbers_that_pyyaml_reads_as_text_are_numbers() -> None:
    assert yaml.safe_load("1e-3") == "1e-3"
    assert tiny_params(**{"train.lr": "1e-3"}).train.lr == 0.001


@pytest.mark.parametrize("content", [b"a: [", b"\xff\xfe", b"a: b: c", b"\x00", b"a: 2020-99-99"])
def test_a_file_that_is_not_yaml_is_told_in_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "params.yaml").write_bytes(content)
    with pytest.raises(UserError, match=r"is not readable YAML") as caught:
        load_params(tmp_path / "params.yaml")
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"params.yaml does not exist"):
        load_params(tmp_path / "params.yaml")


PLAIN = flatten(tiny_params())


def test_flat_keys_are_dotted_and_complete() -> None:
    assert PLAIN["train.lr"] == 0.02
    assert PLAIN["train.betas"] == [0.9, 0.999]
    assert PLAIN["model.conv.channels"] == [4]
    assert PLAIN["data.image_size"] is None


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "seed": st.integers(0, 2**32 - 1),
    "data.limit": st.none() | st.integers(1, 10**9),
    "data.val_fraction": st.floats(0.01, 0.99),
    "model.hidden": st.lists(st.integers(1, 4096), max_size=5),
    "model.activation": st.sampled_from(["relu", "gelu", "tanh"]),
    "train.lr": st.floats(1e-12, 1e6),
    "train.betas": st.lists(st.floats(0, 0.999), min_size=2, max_size=2),
    "train.augment.flip": st.booleans(),
    "train.threads": st.just("auto") | st.integers(1, 256),
    "track.model_name": st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1),
}


@given(st.fixed_dictionaries(VALUES))
def test_params_survive_yaml_and_flattening(changes: dict[str, Any]) -> None:
    params = tiny_params(**changes)
    flat = flatten(params)
    again = parse_section(
        Params, yaml.safe_load(yaml.safe_dump(changed(tiny_tree(), flat))), "again"
    )
    assert again == params
