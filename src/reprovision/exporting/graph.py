"""A classifier as an ONNX graph, written layer by layer.

Each layer of the model zoo is one ONNX operator or two, as https://onnx.ai/onnx/operators/ defines
them. torch's exporter traces a model instead, which takes seconds to start and leaves stack traces
and paths in the file.
"""

from collections.abc import Mapping
from functools import singledispatch
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from reprovision.models import Classifier

OPSET, IR_VERSION = 20, 9
"""Pinned, to the oldest that have all operators used here: new ones may not run everywhere."""


def build_graph(
    classifier: Classifier, shape: tuple[int, int, int], metadata: Mapping[str, str]
) -> onnx.ModelProto:
    """A model that takes `pixels`, uint8 (N, C, H, W), and gives `probabilities`, (N, classes).

    Args:
        classifier: what it does in evaluation mode is written.
        shape: of the images, (C, H, W).
        metadata: texts that travel with the model.

    Raises:
        NotImplementedError: no function below knows how to write a layer.
    """
    chain = _Chain("pixels")
    chain.add("Cast", to=TensorProto.FLOAT)
    chain.add("Mul", chain.keep("scale", classifier.scale))
    chain.add("Add", chain.keep("offset", classifier.offset))
    for name, layer in classifier.network.named_children():
        _write(layer, chain, f"network.{name}")
    chain.add("Softmax", axis=1)
    chain.nodes[-1].output[0] = "probabilities"

    *_, last = classifier.network.children()
    assert isinstance(last, nn.Linear), "a network ends in one logit a class"
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", *shape])
    probabilities = helper.make_tensor_value_info(
        "probabilities", TensorProto.FLOAT, ["N", last.out_features]
    )
    model = helper.make_model(
        helper.make_graph(
            chain.nodes, "classifier", [pixels], [probabilities], initializer=chain.constants
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="reprovision",
    )
    helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    return model


class _Chain:
    """Nodes of which each takes what the one before gives."""

    def __init__(self, given: str) -> None:
        self.last = given
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, operator: str, *others: str, **attributes: Any) -> None:
        """Appends a node; `others` are its inputs after the first."""
        name = f"{operator.lower()}_{len(self.nodes)}"
        inputs = [self.last, *others]
        self.nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        self.last = name

    def keep(self, name: str, value: Tensor) -> str:
        """Makes a tensor part of the model; returns its name."""
        array = np.ascontiguousarray(value.detach().cpu().numpy())
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def keep_of(self, layer: nn.Module, path: str, *names: str) -> list[str]:
        """Makes those of a layer's tensors that it has part of the model."""
        values = {name: getattr(layer, name) for name in names}
        return [self.keep(f"{path}.{n}", v) for n, v in values.items() if v is not None]


@singledispatch
def _write(layer: nn.Module, chain: _Chain, path: str) -> None:
    """Appends a layer to the chain; `path` is its name in the classifier."""
    raise NotImplementedError(
        f"{type(layer).__name__} has no ONNX operator yet: register one in {__name__}"
    )


@_write.register
def _(layer: nn.Linear, chain: _Chain, path: str) -> None:
    chain.add("Gemm", *chain.keep_of(layer, path, "weight", "bias"), transB=1)


@_write.register
def _(layer: nn.Conv2d, chain: _Chain, path: str) -> None:
    assert not isinstance(layer.padding, str), "padding is given in pixels"
    assert layer.padding_mode == "zeros", "what is added around an image is zero"
    chain.add(
        "Conv",
        *chain.keep_of(layer, path, "weight", "bias"),
        kernel_shape=layer.kernel_size,
        strides=layer.stride,
        # before and after each side
        pads=[*layer.padding, *layer.padding],
        dilations=layer.dilation,
        group=layer.groups,
    )


@_write.register
def _(layer: nn.MaxPool2d, chain: _Chain, path: str) -> None:
    plain = (layer.kernel_size, 0, 1, False)
    assert (layer.stride, layer.padding, layer.dilation, layer.ceil_mode) == plain
    assert isinstance(layer.kernel_size, int), "windows are square and side by side"
    side = [layer.kernel_size] * 2
    chain.add("MaxPool", kernel_shape=side, strides=side)


@_write.register
def _(layer: nn.BatchNorm2d, chain: _Chain, path: str) -> None:
    names = ("weight", "bias", "running_mean", "running_var")
    chain.add("BatchNormalization", *chain.keep_of(layer, path, *names), epsilon=layer.eps)


@_write.register
def _(layer: nn.Flatten, chain: _Chain, path: str) -> None:
    chain.add("Flatten", axis=1)


@_write.register
def _(layer: nn.Dropout, chain: _Chain, path: str) -> None:
    """Does nothing in evaluation mode."""


@_write.register
def _(layer: nn.ReLU, chain: _Chain, path: str) -> None:
    chain.add("Relu")


@_write.register
def _(layer: nn.LeakyReLU, chain: _Chain, path: str) -> None:
    chain.add("LeakyRelu", alpha=layer.negative_slope)


@_write.register
def _(layer: nn.GELU, chain: _Chain, path: str) -> None:
    chain.add("Gelu", approximate=layer.approximate)


@_write.register
def _(layer: nn.SiLU, chain: _Chain, path: str) -> None:
    given = chain.last
    chain.add("Sigmoid")
    chain.add("Mul", given)


@_write.register
def _(layer: nn.Tanh, chain: _Chain, path: str) -> None:
    chain.add("Tanh")


@_write.register
def _(layer: nn.Sigmoid, chain: _Chain, path: str) -> None:
    chain.add("Sigmoid")
