"""params.yaml: valid values are accepted; an error names the key, the value and the problem."""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.serialize import parse_yaml as parse_yaml_as_dvc
from hypothesis import given
from hypothesis import strategies as st
from project import ROOT, changed, tiny_params, tiny_tree

from reprovision.core.errors import UserError
from reprovision.core.params import Params, load_params
from reprovision.core.yaml_files import flatten, parse_section, parse_yaml


def refusal(tree: Any) -> str:
    with pytest.raises(UserError) as caught:
        parse_section(Params, tree, "params.yaml")
    return str(caught.value)


def test_the_params_in_the_repository_are_valid() -> None:
    load_params(ROOT / "params.yaml")


def test_every_key_in_the_repository_has_a_comment() -> None:
    lines = (ROOT / "params.yaml").read_text().splitlines()
    keys = [line for line in lines if ":" in line and not line.startswith("#")]
    sections = [line for line in keys if line.endswith(":")]
    assert [line for line in keys if "  # " not in line and line not in sections] == []


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("train.lr", "abc", "'abc': must be a number"),
        ("train.lr", None, "empty: must be a number"),
        ("train.lr", -0.1, "-0.1: must be above 0"),
        ("train.lr", True, "True: must be a number, not true or false"),
        ("train.lr", math.nan, "nan: must be a finite number"),
        ("train.lr", [1], "[1]: must be a number"),
        ("train.epochs", 0, "0: must be at least 1"),
        ("train.epochs", 1.5, "1.5: must be a whole number"),
        ("train.epochs", "ten", "'ten': must be a whole number"),
        ("data.image_size", -8, "-8: must be a number or two numbers [height, width], from 4"),
        ("data.image_size", "64x64", "'64x64': must be a number or two numbers [height, width]"),
        ("data.image_size[1]", [64, 2000], "2000: must be at most 1,024"),
        ("data.classes", ["a"], "['a']: must have at least 2 values"),
        ("model.name", "res net", "'res net': must be the name of a network, e.g. cnn, resnet18"),
        ("model.weights_sha256", "A", "'A': must be 64 hexadecimal digits, in lower case"),
        ("data.resize", "fit", "'fit': must be crop, squash or pad"),
        ("data.val_fraction", 1.5, "1.5: must be below 1"),
        ("data.channels", 2, "2: must be 1 or 3"),
        ("data.channels", True, "True: must be a number, not true or false"),
        ("data.source", "", "'': must not be empty"),
        ("data.source", 5, "5: must be text"),
        ("model.hidden", 16, "16: must be a list, e.g. [16, 32]"),
        ("model.hidden[1]", [16, 0], "0: must be at least 1"),
        ("model.conv", None, "empty: must hold `key: value` lines"),
        ("model.conv.channels", [], "[]: must have at least 1 value"),
        ("model.conv.batch_norm", "maybe", "'maybe': must be true or false"),
        ("train.betas[1]", [0.9, 2], "2: must be below 1"),
        ("train.betas", [0.9] * 3, "[0.9, 0.9, 0.9]: must be two numbers, e.g. [0.9, 0.999]"),
        ("track.model_name", "a/b", "'a/b': must be a name without /, : and '"),
        ("seed", -1, "-1: must be at least 0"),
        ("train", 3, "3: must hold `key: value` lines"),
        # more than torch's integers and float32 hold
        ("train.batch_size", 10**20, f"{10**20}: must be at most 1,000,000,000"),
        ("train.lr", 1e39, "1e+39: must be at most 1,000,000,000"),
        ("train.muon_lr", 1e39, "1e+39: must be at most 1,000,000,000"),
        ("train.weight_decay", 1e39, "1e+39: must be at most 1,000,000,000"),
    ],
)
def test_an_error_names_the_key_its_value_and_what_is_allowed(
    key: str, value: Any, problem: str
) -> None:
    message = refusal(tiny_tree(**{key.partition("[")[0]: value}))
    assert message.startswith(f"params.yaml: {key} is {problem}"), message
    assert ";" not in message, "each problem is reported once"


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("train.threads", 0, "train.threads is 0: must be at least 1 or auto"),
        ("train.threads", 10**12, "must be at most 1,024 or auto"),
        ("train.threads", "many", "must be a whole number or auto"),
        ("model.conv.kernel_size", "x", "must be a whole number or a list"),
        # a list is meant: nothing is reported about the number that it could be instead
        ("model.conv.kernel_size", [99], "model.conv.kernel_size[0] is 99: must be at most 31"),
    ],
)
def test_the_branches_of_a_union_are_one_problem(key: str, value: Any, problem: str) -> None:
    message = refusal(tiny_tree(**{key: value}))
    assert problem in message
    assert ";" not in message
    assert message.count(key) == 1


def test_at_most_three_problems_are_listed_and_the_rest_is_counted() -> None:
    keys = ("train.lr", "train.epochs", "train.warmup", "train.ema", "seed")
    message = refusal(tiny_tree(**dict.fromkeys(keys, -1)))
    assert message.count(" is -1: ") == 3
    assert message.endswith("; and 2 more")


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("train.lrr", "train.lr"),
        ("train.batchsize", "train.batch_size"),
        ("model.conv.kernal_size", "model.conv.kernel_size"),
        ("model.name_", "model.name"),
        ("sede", "seed"),
        ("lr", "train.lr"),
        ("optimizer", "train.optimizer"),
        ("trian", "train"),
    ],
)
def test_an_unknown_key_is_reported_with_the_nearest_known_key(key: str, nearest: str) -> None:
    message = refusal(tiny_tree(**{key: 1}))
    assert message == f"params.yaml: {key} is not a known key: did you mean {nearest}?"


def test_a_missing_key_is_named() -> None:
    tree = tiny_tree()
    del tree["train"]["lr"]
    assert refusal(tree) == "params.yaml: train.lr is missing: add it"


@pytest.mark.parametrize("tree", [None, [], "text", 3])
def test_a_file_without_keys_is_refused(tree: Any) -> None:
    assert "must hold `key: value` lines" in refusal(tree)


def test_contradicting_values_are_refused() -> None:
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
    assert "model.weights_sha256 is the digest of a file" in refusal(
        tiny_tree(**{"model.name": "resnet18", "model.weights_sha256": "0" * 64})
    )
    assert "train.backbone_lr needs a network of torchvision" in refusal(
        tiny_tree(**{"train.backbone_lr": 0.1})
    )
    assert "train.patience needs validation images" in refusal(
        tiny_tree(**{"train.patience": 3, "train.keep": "last", "data.val_fraction": 0})
    )
    assert "model.conv.residual=true needs model.conv.padding=same" in refusal(
        tiny_tree(**{"model.conv.residual": True, "model.conv.padding": "valid"})
    )


def test_a_frozen_backbone_may_learn_in_the_last_epochs_only() -> None:
    frozen = {"model.name": "resnet18", "model.weights": "pretrained", "train.freeze": "backbone"}
    assert tiny_params(**frozen, **{"train.epochs": 3, "train.freeze_epochs": 2})
    assert "train.freeze_epochs=3 leaves none of train.epochs=3" in refusal(
        tiny_tree(**frozen, **{"train.epochs": 3, "train.freeze_epochs": 3})
    )
    assert "train.freeze_epochs needs train.freeze=backbone" in refusal(
        tiny_tree(**{"train.freeze_epochs": 1})
    )


def test_numbers_that_pyyaml_reads_as_text_are_numbers() -> None:
    assert yaml.safe_load("1e-3") == "1e-3"
    assert tiny_params(**{"train.lr": "1e-3"}).train.lr == 0.001


@pytest.mark.parametrize("content", [b"a: [", b"\xff\xfe", b"a: b: c", b"\x00", b"a: 2020-99-99"])
def test_a_file_that_is_not_yaml_is_refused_in_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "params.yaml").write_bytes(content)
    with pytest.raises(UserError, match=r"is not readable YAML") as caught:
        load_params(tmp_path / "params.yaml")
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"params.yaml does not exist"):
        load_params(tmp_path / "params.yaml")


def test_numbers_are_those_that_dvc_reads(tmp_path: Path) -> None:
    text = yaml.safe_dump(tiny_tree()).replace("\nseed: 0\n", "\nseed: 010\n")
    text = text.replace("lr: 0.02", "lr: 1e-3").replace("split_seed: 0", "split_seed: 1_0")
    (tmp_path / "params.yaml").write_text(text)
    read = load_params(tmp_path / "params.yaml")
    dvc = parse_yaml_as_dvc(text, "params.yaml")
    assert (read.seed, read.train.lr) == (dvc["seed"], dvc["train"]["lr"]) == (10, 0.001)
    assert read.data.split_seed == dvc["data"]["split_seed"] == 10


@pytest.mark.parametrize("value", ["!!bool abc", "!!timestamp abc", "!!int x", "2024-13-45"])
def test_a_value_that_is_not_of_its_tag_is_refused(tmp_path: Path, value: str) -> None:
    (tmp_path / "params.yaml").write_text(f"seed: {value}\n")
    with pytest.raises(UserError, match=r"params\.yaml"):
        load_params(tmp_path / "params.yaml")


def test_aliases_of_aliases_do_not_fill_the_memory() -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]" for a, b in pairwise("abcdefghij")]
    with pytest.raises(UserError, match=r"holds more than 1,000,000 values"):
        parse_yaml("\n".join(lines).encode(), "params.yaml")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train.device", "cuda"),
        ("train.precision", "bf16"),
        ("train.compile", True),
        ("train.threads", "auto"),
    ],
)
def test_portable_numerics_refuses_what_differs_from_machine_to_machine(
    key: str, value: object
) -> None:
    with pytest.raises(UserError, match=r"numerics=portable .*" + key):
        tiny_params(**{key: value})
    assert tiny_params(numerics="native", **{key: value})


PLAIN = flatten(tiny_params())


def test_flat_keys_are_dotted_and_complete() -> None:
    assert PLAIN["train.lr"] == 0.02
    assert PLAIN["train.betas"] == [0.9, 0.999]
    assert PLAIN["model.conv.channels"] == [4]
    assert PLAIN["data.image_size"] is None


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "numerics": st.just("native"),
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


def test_a_missing_element_of_a_list_is_reported() -> None:
    with pytest.raises(UserError, match=r"train\.betas\[1\] is missing"):
        tiny_params(**{"train.betas": [0.9]})
