"""ONNX: pixels in, probabilities out, the same as PyTorch for any network."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torchvision
from project import ROOT, tiny_params

from reprovision.core.errors import UserError
from reprovision.data.dataset import Split, load_info, load_split
from reprovision.exporting.onnx import check_parity, export_onnx
from reprovision.images.preprocessing import Preprocessing
from reprovision.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from reprovision.models.classifier import Classifier, build_model
from reprovision.models.inference import predict
from reprovision.models.layers import ACTIVATIONS

Make = Callable[..., Checkpoint]


@pytest.fixture
def untrained(tmp_path: Path, prepared: Path) -> Make:
    """A checkpoint of random weights; keyword arguments change the dataset or `model.`."""

    def make(data: dict[str, Any] | None = None, **changes: Any) -> Checkpoint:
        params = tiny_params(**{f"model.{key}": value for key, value in changes.items()}).model
        info = load_info(prepared).model_copy(update=data)
        torch.manual_seed(0)
        model = build_model(params, info.shape, 10, info.mean, info.std)
        randomize(model)
        save_checkpoint(tmp_path / "checkpoint", model, params, info)
        return load_checkpoint(tmp_path / "checkpoint")

    return make


def randomize(model: torch.nn.Module) -> None:
    """Draws biases and batch normalization anew: initial ones are zeros and ones, all alike."""
    for name, value in model.state_dict().items():
        if "running" in name or (name.endswith(("weight", "bias")) and value.ndim == 1):
            value.uniform_(0.5, 1.5)


def session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def random_split(count: int, *shape: int) -> Split:
    images = np.random.default_rng(0).integers(0, 256, (count, *shape), np.uint8)
    return Split(images, np.zeros(count, np.int64))


NETWORKS = [
    {"name": "mlp", "hidden": []},
    {"name": "mlp", "hidden": [20], "activation": "gelu", "dropout": 0.5},
    {"conv.channels": [4, 6], "conv.kernel_size": [5, 3], "conv.stride": [2, 1]},
    {"conv.batch_norm": True, "conv.layers_per_stage": 2, "activation": "silu", "conv.pool": 1},
    {"conv.padding": "valid"},
    {"conv.channels": [4, 6], "conv.residual": True, "conv.batch_norm": True},
    {"conv.channels": [4, 4], "conv.residual": True, "conv.global_pool": True},
    *({"hidden": [20], "activation": activation} for activation in ACTIVATIONS),
]


@pytest.mark.parametrize("changes", NETWORKS, ids=lambda c: "-".join(map(str, c.values())))
def test_the_exported_model_predicts_the_same_as_pytorch(
    untrained: Make, prepared: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    checkpoint, test = untrained(**changes), load_split(prepared, "test")
    export_onnx(checkpoint, tmp_path / "model.onnx")
    parity = check_parity(checkpoint, tmp_path / "model.onnx", test, 1e-5)
    assert parity.images == len(test)
    assert parity.same_predictions == len(test)
    assert parity.max_difference < 1e-5


@pytest.mark.parametrize(
    "name", ["resnet18", pytest.param("mobilenet_v3_small", marks=pytest.mark.slow)]
)
def test_networks_of_torchvision_can_be_exported(
    untrained: Make, tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    colour = {"preprocessing": Preprocessing(40, 32, 3), "mean": (0.5,) * 3, "std": (0.2,) * 3}
    header = untrained(colour).header
    torch.manual_seed(0)
    network = torchvision.models.get_model(name, num_classes=10)
    model = Classifier(network, [0.5] * 3, [0.2] * 3).eval()
    randomize(model)
    checkpoint = Checkpoint(model.to(memory_format=torch.channels_last), header)
    capfd.readouterr()
    export_onnx(checkpoint, tmp_path / "model.onnx")
    assert capfd.readouterr() == ("", "")
    parity = check_parity(checkpoint, tmp_path / "model.onnx", random_split(9, 3, 40, 32), 1e-5)
    assert parity.same_predictions == 9
    assert not paths_in(tmp_path / "model.onnx")


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_each_channel_is_normalized_by_its_own_mean(
    untrained: Make, tmp_path: Path, name: str
) -> None:
    how = Preprocessing(9, 12, 3)
    colour = {"preprocessing": how, "mean": (0.2, 0.5, 0.7), "std": (0.1, 0.3, 0.2)}
    checkpoint = untrained(colour, name=name)
    export_onnx(checkpoint, tmp_path / "model.onnx")
    parity = check_parity(checkpoint, tmp_path / "model.onnx", random_split(50, 3, 9, 12), 1e-5)
    assert parity.same_predictions == 50


def test_inputs_are_pixels_in_batches_of_any_size_and_outputs_probabilities(
    untrained: Make, prepared: Path, tmp_path: Path
) -> None:
    checkpoint = untrained()
    export_onnx(checkpoint, tmp_path / "model.onnx")
    model = session(tmp_path / "model.onnx")
    (inputs,), (outputs,) = model.get_inputs(), model.get_outputs()
    assert (inputs.name, inputs.type, inputs.shape) == ("pixels", "tensor(uint8)", ["N", 1, 8, 8])
    assert (outputs.name, outputs.type) == ("probabilities", "tensor(float)")
    assert outputs.shape == ["N", 10]
    pixels = load_split(prepared, "test").images
    expected = predict(checkpoint.classifier, torch.from_numpy(pixels), 100).softmax(1).numpy()
    for size in (1, 2, 7, len(pixels)):
        (got,) = model.run(None, {"pixels": pixels[:size]})
        assert got == pytest.approx(expected[:size], abs=1e-6)
        assert got.sum(1) == pytest.approx(1)


EXPORT = """
import sys
from pathlib import Path
from reprovision.exporting.onnx import export_onnx
from reprovision.models.checkpoint import load_checkpoint

export_onnx(load_checkpoint(sys.argv[1]), Path("model.onnx"))
"""


def test_the_same_checkpoint_gives_the_same_bytes_in_every_folder(
    untrained: Make, tmp_path: Path
) -> None:
    export_onnx(untrained(**{"conv.batch_norm": True}), tmp_path / "model.onnx")
    other = tmp_path / "another" / "folder"
    other.mkdir(parents=True)
    # the code lies elsewhere, too, and another process hashes in another order
    (other / "src").symlink_to(ROOT / "src")
    environment = os.environ | {"PYTHONPATH": str(other / "src"), "PYTHONHASHSEED": "1"}
    command = [sys.executable, "-c", EXPORT, str(tmp_path / "checkpoint")]
    done = subprocess.run(
        command, cwd=other, env=environment, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")
    assert (tmp_path / "model.onnx").read_bytes() == (other / "model.onnx").read_bytes()


def test_the_file_contains_no_path_and_no_version_of_the_exporter(
    untrained: Make, tmp_path: Path
) -> None:
    export_onnx(untrained(), tmp_path / "model.onnx")
    assert not paths_in(tmp_path / "model.onnx")
    assert torch.__version__.encode() not in (tmp_path / "model.onnx").read_bytes()


def paths_in(path: Path) -> list[str]:
    """Names and other texts in a model that look like a path or a line of source code."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        for values in ("raw_data", "float_data", "int32_data"):
            tensor.ClearField(values)
    texts = re.findall(rb"[\x20-\x7e]{4,}", model.SerializeToString())
    return [t.decode() for t in texts if re.search(rb"/|\\|\.py|site-packages|line \d", t)]


def test_the_file_is_one_valid_model_of_the_pinned_version(untrained: Make, tmp_path: Path) -> None:
    export_onnx(untrained(), tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 20)]
    assert [p.name for p in tmp_path.glob("model*")] == ["model.onnx"]
    (classes,) = (p.value for p in model.metadata_props if p.key == "classes")
    assert json.loads(classes) == list("0123456789")


def test_dropout_and_other_operations_without_effect_are_not_in_the_graph(
    untrained: Make, tmp_path: Path
) -> None:
    export_onnx(untrained(dropout=0.5), tmp_path / "model.onnx")
    operators = [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node]
    assert operators == [
        *("Cast", "Mul", "Add"),
        *("Conv", "MaxPool", "Relu", "Reshape", "Gemm", "Relu", "Gemm", "Softmax"),
    ]


def test_a_model_that_disagrees_is_refused(untrained: Make, prepared: Path, tmp_path: Path) -> None:
    checkpoint, test = untrained(), load_split(prepared, "test")
    export_onnx(checkpoint, tmp_path / "model.onnx")
    with torch.no_grad():
        next(checkpoint.classifier.parameters()).add_(0.05)
    with pytest.raises(
        UserError, match=r"the exported model differs from PyTorch by .* more than "
    ):
        check_parity(checkpoint, tmp_path / "model.onnx", test, 1e-4)


def test_a_model_that_returns_nan_is_refused(
    untrained: Make, prepared: Path, tmp_path: Path
) -> None:
    checkpoint, test = untrained(), load_split(prepared, "test")
    with torch.no_grad():
        next(checkpoint.classifier.parameters()).fill_(np.nan)
    export_onnx(checkpoint, tmp_path / "model.onnx")
    with pytest.raises(UserError, match="differs from PyTorch by nan"):
        check_parity(checkpoint, tmp_path / "model.onnx", test, 1e-4)


# ---- the mean over image and mirror image


def test_with_flip_the_exported_model_answers_for_image_and_mirror_image(
    untrained: Make, prepared: Path, tmp_path: Path
) -> None:
    checkpoint, test = untrained(), load_split(prepared, "test")
    path = tmp_path / "model.onnx"
    export_onnx(checkpoint, path, flip=True)
    assert check_parity(checkpoint, path, test, 1e-5, flip=True).same_predictions == len(test)
    pixels = torch.from_numpy(test.images)
    image, mirrored = (
        predict(checkpoint.classifier, p, 100).softmax(1) for p in (pixels, pixels.flip(3))
    )
    assert (image - mirrored).abs().max() > 0.01
    for size in (1, 3, len(pixels)):
        (got,) = session(path).run(None, {"pixels": test.images[:size]})
        assert got == pytest.approx(((image + mirrored) / 2)[:size].numpy(), abs=1e-5)


def test_a_model_that_was_tested_with_flip_differs_from_one_without(
    untrained: Make, prepared: Path, tmp_path: Path
) -> None:
    checkpoint = untrained()
    export_onnx(checkpoint, tmp_path / "model.onnx")
    with pytest.raises(UserError, match="differs from PyTorch"):
        test = load_split(prepared, "test")
        check_parity(checkpoint, tmp_path / "model.onnx", test, 1e-4, flip=True)


def test_with_flip_the_layers_are_in_the_graph_once(untrained: Make, tmp_path: Path) -> None:
    kinds = []
    for flip in (False, True):
        export_onnx(untrained(), tmp_path / "model.onnx", flip)
        kinds.append([node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node])
    assert [kind.count("Conv") for kind in kinds] == [1, 1]
