"""ONNX: pixels in, probabilities out, the same as PyTorch whatever the network."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from project import tiny_params
from torch import nn

from reprovision.core.errors import UserError
from reprovision.data.dataset import Split, load_info, load_split
from reprovision.exporting.onnx import check_parity, export_onnx
from reprovision.models import build_model
from reprovision.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from reprovision.models.inference import predict
from reprovision.models.layers import ACTIVATIONS

Make = Callable[..., Checkpoint]


@pytest.fixture
def untrained(tmp_path: Path, prepared: Path) -> Make:
    """A checkpoint of random weights; keyword arguments change the data set or `model.`."""

    def make(data: dict[str, Any] | None = None, **changes: Any) -> Checkpoint:
        params = tiny_params(**{f"model.{key}": value for key, value in changes.items()}).model
        info = load_info(prepared).model_copy(update=data)
        torch.manual_seed(0)
        model = build_model(params, info.shape, 10, info.mean, info.std)
        for name, value in model.state_dict().items():
            if "running" in name or (name.endswith(("weight", "bias")) and value.ndim == 1):
                # fresh ones are zeros and ones, and could be mistaken for each other
                value.uniform_(0.5, 1.5)
        save_checkpoint(tmp_path / "checkpoint", model, params, info)
        return load_checkpoint(tmp_path / "checkpoint")

    return make


def session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


NETWORKS = [
    {"name": "mlp", "hidden": []},
    {"name": "mlp", "hidden": [20], "activation": "gelu", "dropout": 0.5},
    {"conv.channels": [4, 6], "conv.kernel_size": [5, 3], "conv.stride": [2, 1]},
    {"conv.batch_norm": True, "conv.layers_per_stage": 2, "activation": "silu", "conv.pool": 1},
    {"conv.padding": "valid"},
    *({"hidden": [20], "activation": activation} for activation in ACTIVATIONS),
]


@pytest.mark.parametrize("changes", NETWORKS, ids=lambda c: "-".join(map(str, c.values())))
def test_the_exported_model_says_what_pytorch_says(
    untrained: Make, prepared: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    checkpoint, test = untrained(**changes), load_split(prepared, "test")
    export_onnx(checkpoint, tmp_path / "model.onnx")
    parity = check_parity(checkpoint, tmp_path / "model.onnx", test, 1e-5)
    assert parity.images == len(test)
    assert parity.same_predictions == len(test)
    assert parity.max_difference < 1e-5


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_each_channel_is_normalised_by_its_own_mean(
    untrained: Make, tmp_path: Path, name: str
) -> None:
    colour = {"shape": (3, 9, 12), "mean": (0.2, 0.5, 0.7), "std": (0.1, 0.3, 0.2)}
    checkpoint = untrained(colour, name=name)
    images = np.random.default_rng(0).integers(0, 256, (50, 3, 9, 12), np.uint8)
    export_onnx(checkpoint, tmp_path / "model.onnx")
    parity = check_parity(
        checkpoint, tmp_path / "model.onnx", Split(images, np.zeros(50, np.int64)), 1e-5
    )
    assert parity.same_predictions == 50


def test_it_takes_pixels_in_batches_of_any_size_and_gives_probabilities(
    untrained: Make, prepared: Path, tmp_path: Path
) -> None:
    checkpoint = untrained()
    export_onnx(checkpoint, tmp_path / "model.onnx")
    model = session(tmp_path / "model.onnx")
    (taken,), (given,) = model.get_inputs(), model.get_outputs()
    assert (taken.name, taken.type, taken.shape[1:]) == ("pixels", "tensor(uint8)", [1, 8, 8])
    assert (given.name, given.type, given.shape[1:]) == ("probabilities", "tensor(float)", [10])
    pixels = load_split(prepared, "test").images
    expected = predict(checkpoint.classifier, torch.from_numpy(pixels), 100).softmax(1).numpy()
    for size in (1, 2, 7, len(pixels)):
        (got,) = model.run(None, {"pixels": pixels[:size]})
        assert got == pytest.approx(expected[:size], abs=1e-6)
        assert got.sum(1) == pytest.approx(1)


def test_the_same_checkpoint_gives_the_same_bytes_in_every_folder(
    untrained: Make, tmp_path: Path
) -> None:
    checkpoint = untrained()
    export_onnx(checkpoint, tmp_path / "one.onnx")
    moved = shutil.copy(tmp_path / "checkpoint", tmp_path / "another")
    export_onnx(load_checkpoint(moved), tmp_path / "deep" / "er" / "two.onnx")
    content = (tmp_path / "one.onnx").read_bytes()
    assert content == (tmp_path / "deep" / "er" / "two.onnx").read_bytes()
    strings = re.findall(rb"[\x20-\x7e]{4,}", content)
    assert not [s for s in strings if b".py" in s or str(Path.cwd()).encode() in s]


def test_the_file_is_one_valid_model_of_the_pinned_version(untrained: Make, tmp_path: Path) -> None:
    export_onnx(untrained(), tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")] == [20]
    assert model.ir_version == 9
    assert [p.name for p in tmp_path.glob("model*")] == ["model.onnx"]
    (classes,) = (p.value for p in model.metadata_props if p.key == "classes")
    assert classes.split("\n") == list("0123456789")


def test_a_layer_that_has_no_operator_yet_is_named(untrained: Make, tmp_path: Path) -> None:
    checkpoint = untrained()
    checkpoint.classifier.network.insert(0, nn.PixelShuffle(1))
    with pytest.raises(NotImplementedError, match=r"PixelShuffle has no ONNX operator yet"):
        export_onnx(checkpoint, tmp_path / "model.onnx")


def test_a_model_that_disagrees_is_refused(untrained: Make, prepared: Path, tmp_path: Path) -> None:
    checkpoint, test = untrained(), load_split(prepared, "test")
    export_onnx(checkpoint, tmp_path / "model.onnx")
    with torch.no_grad():
        next(checkpoint.classifier.parameters()).add_(0.05)
    with pytest.raises(
        UserError, match=r"the exported model differs from PyTorch by .* more than "
    ):
        check_parity(checkpoint, tmp_path / "model.onnx", test, 1e-4)


def test_a_model_that_gives_no_number_is_refused(
    untrained: Make, prepared: Path, tmp_path: Path
) -> None:
    checkpoint, test = untrained(), load_split(prepared, "test")
    with torch.no_grad():
        next(checkpoint.classifier.parameters()).fill_(np.nan)
    export_onnx(checkpoint, tmp_path / "model.onnx")
    with pytest.raises(UserError, match="differs from PyTorch by nan"):
        check_parity(checkpoint, tmp_path / "model.onnx", test, 1e-4)
