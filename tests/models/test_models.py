"""Networks by name: layers, initial weights, gradients, normalization, the checkpoint file."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from project import tiny_params
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from reprovision.core.errors import UserError
from reprovision.core.params import ModelParams
from reprovision.data.dataset import load_info
from reprovision.models.checkpoint import load_checkpoint, save_checkpoint
from reprovision.models.classifier import Classifier, build_model, count_parameters
from reprovision.models.inference import predict


def model_params(**changes: Any) -> ModelParams:
    return tiny_params(**{f"model.{key}": value for key, value in changes.items()}).model


def build(shape: tuple[int, int, int] = (1, 8, 8), **changes: Any) -> Classifier:
    torch.manual_seed(0)
    channels = shape[0]
    return build_model(model_params(**changes), shape, 10, [0.3] * channels, [0.2] * channels)


def layers(classifier: Classifier, kind: type[nn.Module]) -> list[Any]:
    return [module for module in classifier.modules() if isinstance(module, kind)]


# ---- layers


def test_an_mlp_has_the_widths_asked_for() -> None:
    linear = layers(build(name="mlp", hidden=[20, 15]), nn.Linear)
    assert [(one.in_features, one.out_features) for one in linear] == [(64, 20), (20, 15), (15, 10)]


def test_an_mlp_without_hidden_layers_is_a_linear_classifier() -> None:
    assert count_parameters(build(name="mlp", hidden=[])) == 64 * 10 + 10


@pytest.mark.parametrize(("padding", "features"), [("same", 6 * 2 * 2), ("valid", 6 * 1 * 1)])
def test_a_cnn_has_its_stages_and_then_the_hidden_layers(padding: str, features: int) -> None:
    changes = {"conv.channels": [4, 6], "conv.padding": padding, "hidden": [20]}
    model = build((3, 10, 10), **changes)
    convolutions = layers(model, nn.Conv2d)
    assert [(c.in_channels, c.out_channels, c.kernel_size) for c in convolutions] == [
        (3, 4, (3, 3)),
        (4, 6, (3, 3)),
    ]
    assert [one.in_features for one in layers(model, nn.Linear)] == [features, 20]


def test_stages_may_have_several_layers_strides_and_batch_normalization() -> None:
    changes = {
        "conv.channels": [4, 6],
        "conv.kernel_size": [5, 3],
        "conv.stride": [2, 1],
        "conv.layers_per_stage": 2,
        "conv.batch_norm": True,
        "conv.pool": 1,
    }
    model = build((1, 16, 16), **changes)
    convolutions = layers(model, nn.Conv2d)
    assert [c.kernel_size[0] for c in convolutions] == [5, 5, 3, 3]
    assert [c.stride[0] for c in convolutions] == [2, 1, 1, 1]
    assert all(c.bias is None for c in convolutions)
    assert len(layers(model, nn.BatchNorm2d)) == 4
    assert layers(model, nn.Linear)[0].in_features == 6 * 8 * 8


def test_pooling_before_the_activation_is_pooling_after_it() -> None:
    model = build(**{"conv.channels": [4]})
    pixels = torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8)
    convolution, first, second = layers(model, nn.Conv2d)[0], *layers(model, nn.Linear)
    images = (pixels / 255 - 0.3) / 0.2
    features = functional.max_pool2d(functional.relu(convolution(images)), 2).flatten(1)
    expected = second(functional.relu(first(features)))
    assert torch.allclose(model(pixels), expected, atol=1e-5)


def test_dropout_is_active_in_training_only() -> None:
    model = build(name="mlp", hidden=[64], dropout=0.5)
    pixels = torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8)
    assert not torch.equal(model(pixels), model(pixels))
    assert torch.equal(predict(model, pixels, 5), predict(model, pixels, 5))
    assert not layers(build(name="mlp", dropout=0.0), nn.Dropout)


ACTIVATIONS = ["relu", "leaky_relu", "gelu", "silu", "tanh", "sigmoid"]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_each_activation_is_torchs_of_that_name(activation: str) -> None:
    model = build(name="mlp", hidden=[20], activation=activation)
    first, last = layers(model, nn.Linear)
    pixels = torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8)
    inputs = ((pixels / 255 - 0.3) / 0.2).flatten(1)
    expected = last(
        getattr(functional, activation)(first(inputs))
        if hasattr(functional, activation)
        else getattr(torch, activation)(first(inputs))
    )
    assert torch.allclose(model(pixels), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("init", "spread"),
    [
        # half the width of the uniform, or the standard deviation of the normal distribution
        ("default", ("uniform", 1 / 400**0.5)),
        ("kaiming_uniform", ("uniform", (6 / 400) ** 0.5)),
        ("kaiming_normal", ("normal", (2 / 400) ** 0.5)),
        ("xavier_uniform", ("uniform", (6 / (400 + 300)) ** 0.5)),
        ("xavier_normal", ("normal", (2 / (400 + 300)) ** 0.5)),
    ],
)
def test_initial_weights_have_the_distribution_of_their_name(
    init: str, spread: tuple[str, float]
) -> None:
    model = build((1, 20, 20), name="mlp", hidden=[300], init=init)
    weights = layers(model, nn.Linear)[0].weight.detach()
    kind, size = spread
    if kind == "uniform":
        assert weights.abs().max() <= size
        assert weights.std().item() == pytest.approx(size / 3**0.5, rel=0.01)
        assert (weights.abs() < size / 2).double().mean().item() == pytest.approx(0.5, abs=0.01)
    else:
        assert weights.std().item() == pytest.approx(size, rel=0.01)
        assert (weights.abs() < size).double().mean().item() == pytest.approx(0.6827, abs=0.01)


def test_orthogonal_weights_are_orthogonal() -> None:
    weights = layers(build(name="mlp", hidden=[30], init="orthogonal"), nn.Linear)[0].weight
    assert torch.allclose(weights @ weights.T, torch.eye(30), atol=1e-5)


def test_the_last_layer_has_its_own_initialization() -> None:
    model = build(
        (1, 20, 20), name="mlp", hidden=[400], init="kaiming_uniform", init_last="xavier_uniform"
    )
    first, last = (one.weight.abs().max().item() for one in layers(model, nn.Linear))
    assert first == pytest.approx((6 / 400) ** 0.5, rel=0.01)
    assert last == pytest.approx((6 / (400 + 10)) ** 0.5, rel=0.01)


def test_images_too_small_for_the_network_are_reported_in_one_sentence() -> None:
    with pytest.raises(
        UserError, match=r"model\.name=cnn does not fit images of 8x8 pixels"
    ) as caught:
        build(**{"conv.channels": [4] * 5})
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"smaller model\.conv\.kernel_size"):
        build(**{"conv.kernel_size": 9, "conv.padding": "valid"})


@given(
    side=st.integers(4, 40),
    stages=st.lists(
        st.tuples(st.sampled_from([1, 3, 5]), st.integers(1, 3), st.integers(1, 3)),
        min_size=1,
        max_size=3,
    ),
    padding=st.sampled_from(["valid", "same"]),
    depth=st.integers(1, 2),
    residual=st.booleans(),
)
def test_the_computed_size_after_the_stages_is_the_real_one(
    side: int, stages: list[tuple[int, int, int]], padding: str, depth: int, residual: bool
) -> None:
    kernels, strides, pools = map(list, zip(*stages, strict=True))
    changes = {
        "conv.channels": [2] * len(stages),
        "conv.kernel_size": kernels,
        "conv.stride": strides,
        "conv.pool": pools,
        "conv.padding": padding,
        "conv.layers_per_stage": depth,
        "conv.residual": residual and padding == "same",
        # pooled, the parameters would fit any size
        "conv.global_pool": False,
    }
    pixels = torch.zeros(1, 1, side, side + 3, dtype=torch.uint8)
    try:
        model = build((1, side, side + 3), **changes)
    except UserError:
        return
    assert model.eval()(pixels).shape == (1, 10)


@pytest.mark.parametrize("batch_norm", [True, False])
def test_a_residual_stage_adds_its_input_before_the_last_activation(batch_norm: bool) -> None:
    changes = {
        "conv.channels": [4, 4],
        "conv.stride": [2, 1],
        "conv.pool": [1, 2],
        "conv.layers_per_stage": 2,
        "conv.batch_norm": batch_norm,
        "conv.residual": True,
        "hidden": [],
    }
    network = build((3, 8, 8), **changes).eval().network
    images = torch.randn(5, 3, 8, 8)
    first, activation, second, pooling, _, flatten, last = network
    # other channels, and half the size: projected by a convolution of one pixel
    projection = layers(first.shortcut, nn.Conv2d)
    assert [(c.kernel_size, c.stride, c.bias is None) for c in projection] == [
        ((1, 1), (2, 2), batch_norm)
    ]
    assert len(layers(first.shortcut, nn.BatchNorm2d)) == batch_norm
    assert not list(second.shortcut.parameters())
    maps = functional.relu(first.body(images) + first.shortcut(images))
    maps = functional.relu(functional.max_pool2d(second.body(maps) + maps, 2))
    assert torch.allclose(network(images), last(maps.flatten(1)), atol=1e-6)
    kinds = [type(layer) for layer in second.body]
    norm = [nn.BatchNorm2d] * batch_norm
    assert kinds == [nn.Conv2d, *norm, nn.ReLU, nn.Conv2d, *norm], "no activation before the sum"
    assert [type(layer) for layer in (activation, pooling, flatten)] == [
        nn.ReLU,
        nn.MaxPool2d,
        nn.Flatten,
    ]


def test_the_projections_of_residual_stages_are_initialized_too() -> None:
    changes = {"conv.channels": [20], "conv.residual": True, "init": "orthogonal"}
    (body, projection) = layers(build((3, 8, 8), **changes), nn.Conv2d)
    assert body.kernel_size == (3, 3)
    weights = projection.weight.flatten(1)
    assert torch.allclose(weights.T @ weights, torch.eye(3), atol=1e-5)


def test_pooled_over_the_image_a_network_has_the_same_parameters_for_all_sizes() -> None:
    changes = {"conv.channels": [4, 6], "conv.global_pool": True, "hidden": [20]}
    small, large = (build((3, side, side), **changes) for side in (8, 224))
    assert layers(small, nn.Linear)[0].in_features == 6
    large.load_state_dict(small.state_dict())
    maps = torch.randn(2, 6, 56, 56)
    assert torch.allclose(large.network[-5:-3](maps), maps.mean((2, 3)), atol=1e-6)


@pytest.mark.parametrize(("side", "features"), [(8, 24), (28, 6 * 49), (32, 6 * 64), (36, 6)])
def test_auto_pools_over_more_than_eight_times_eight_positions(side: int, features: int) -> None:
    model = build((1, side, side), **{"conv.channels": [4, 6], "conv.global_pool": "auto"})
    assert layers(model, nn.Linear)[0].in_features == features


def test_any_module_can_be_the_network() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return (images + self.convolution(images)).mean((2, 3))

    model = Classifier(Residual(), [0.5] * 3, [0.2] * 3)
    assert count_parameters(model) == 3 * 3 * 9 + 3
    assert predict(model, torch.zeros(5, 3, 8, 8, dtype=torch.uint8), 2).shape == (5, 3)


# ---- gradients


def test_autograd_agrees_with_the_formulas_of_backpropagation() -> None:
    """The tutorials' formulas by hand, for 64-12-9-10 with ReLU and softmax cross-entropy.

    With inputs a of a layer, its sums z = a W^T + b and the loss J: delta = dJ/dz of the last layer
    is softmax(z) - target; an earlier layer's is the next one's delta W, where its own z > 0; and
    dJ/dW = delta^T a, dJ/db = the sum of delta.
    """
    model = build(name="mlp", hidden=[12, 9]).double()
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (7, 1, 8, 8)).astype(np.uint8)
    labels = random.integers(0, 10, 7)
    weights = [one.weight.detach().numpy() for one in layers(model, nn.Linear)]
    biases = [one.bias.detach().numpy() for one in layers(model, nn.Linear)]

    inputs, sums = [((pixels / 255 - 0.3) / 0.2).reshape(7, 64)], []
    for weight, bias in zip(weights, biases, strict=True):
        sums.append(inputs[-1] @ weight.T + bias)
        inputs.append(np.maximum(sums[-1], 0))
    shares = np.exp(sums[-1] - sums[-1].max(1, keepdims=True))
    delta = (shares / shares.sum(1, keepdims=True) - np.eye(10)[labels]) / 7
    by_hand = []
    for layer in (2, 1, 0):
        by_hand.append((delta.T @ inputs[layer], delta.sum(0)))
        if layer:
            delta = (delta @ weights[layer]) * (sums[layer - 1] > 0)

    # the classifier itself reads pixels as float32
    logits = model.network((torch.from_numpy(pixels).double() / 255 - 0.3) / 0.2)
    functional.cross_entropy(logits, torch.from_numpy(labels)).backward()
    for linear, (of_weight, of_bias) in zip(layers(model, nn.Linear), by_hand[::-1], strict=True):
        assert linear.weight.grad.numpy() == pytest.approx(of_weight, abs=1e-12)
        assert linear.bias.grad.numpy() == pytest.approx(of_bias, abs=1e-12)


def test_normalization_is_the_first_step_of_the_model() -> None:
    model = build_model(
        model_params(name="mlp", hidden=[]), (3, 2, 2), 2, [0.1, 0.2, 0.3], [1, 2, 4]
    )
    seen: list[torch.Tensor] = []
    model.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8))
    assert seen[0][0, :, 0, 0].tolist() == pytest.approx([0.9, 0.4, 0.175])


# ---- checkpoints


@pytest.fixture
def checkpoint(tmp_path: Path, prepared: Path) -> Path:
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(
        path,
        build(**{"conv.batch_norm": True}),
        model_params(**{"conv.batch_norm": True}),
        load_info(prepared),
    )
    return path


def test_a_checkpoint_describes_itself_and_predicts_the_same(
    checkpoint: Path, prepared: Path
) -> None:
    loaded = load_checkpoint(checkpoint)
    assert loaded.header.dataset == load_info(prepared)
    assert loaded.header.model.conv.channels == [4]
    pixels = torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8)
    trained = build(**{"conv.batch_norm": True}).to(memory_format=torch.channels_last)
    expected = predict(trained, pixels, 5)
    assert torch.equal(predict(loaded.classifier, pixels, 5), expected)
    assert not loaded.classifier.training


def test_the_bytes_depend_on_the_content_and_not_on_the_file_name(
    tmp_path: Path, prepared: Path
) -> None:
    for name in ("a", "longer/name"):
        save_checkpoint(tmp_path / name, build(), model_params(), load_info(prepared))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "longer/name").read_bytes()


def rewrite(path: Path, change: Any) -> None:
    """Writes a checkpoint again with another header."""
    with safe_open(str(path), "pt") as file:
        header = json.loads(file.metadata()["reprovision"])
    change(header)
    save_file(load_file(path), path, {"reprovision": json.dumps(header)})


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (
            lambda path: path.write_bytes(path.read_bytes()[:-4]),
            "is missing or not a complete checkpoint",
        ),
        (lambda path: path.write_bytes(b""), "is missing or not a complete checkpoint"),
        (lambda path: path.unlink(), "is missing or not a complete checkpoint"),
        (lambda path: path.write_bytes(path.read_bytes()[:-4] + b"abcd"), "is corrupt"),
        (lambda path: save_file({"a": torch.zeros(1)}, path), "not written by reprovision"),
        (lambda path: rewrite(path, lambda h: h.update(version=99)), "has format version 99"),
        (lambda path: rewrite(path, lambda h: h["model"].update(hidden=[7])), "is corrupt"),
        (lambda path: rewrite(path, lambda h: h["dataset"].update(mean=[0.5])), "is corrupt"),
    ],
)
def test_a_corrupt_checkpoint_is_never_loaded(checkpoint: Path, damage: Any, problem: str) -> None:
    damage(checkpoint)
    with pytest.raises(UserError, match=problem) as caught:
        load_checkpoint(checkpoint)
    assert "\n" not in str(caught.value)
