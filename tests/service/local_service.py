"""The service in this process, with a model of a moment."""

import json
from pathlib import Path

import onnx
from fastapi.testclient import TestClient
from onnx import TensorProto, helper

from reprovision.images.drawing import MNIST_BOX
from reprovision.service.app import make_app
from reprovision.service.models import FileModels
from reprovision.service.service import Limits, Service
from reprovision.serving.predictor import CLASSES, DRAWING_BOX, PREPROCESSING


def write_model(path: Path, side: int = 28, classes: int = 10) -> None:
    """A model of gray images, whose first classes are more probable."""
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", 1, side, side])
    found = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", classes])
    slopes = [-0.001 * n for n in range(classes)]
    nodes = [
        helper.make_node("Cast", ["pixels"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["numbers", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "slopes"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3]),
        helper.make_tensor("slopes", TensorProto.FLOAT, [1, classes], slopes),
    ]
    graph = helper.make_graph(nodes, "model", [pixels], [found], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    how = {"height": side, "width": side, "channels": 1}
    metadata = {
        CLASSES: json.dumps([f"class {n}" for n in range(classes)]),
        PREPROCESSING: json.dumps(how),
        DRAWING_BOX: json.dumps(MNIST_BOX),
    }
    helper.set_model_props(model, metadata)
    onnx.save(model, path)


def make_client(path: Path, limits: Limits | None = None) -> TestClient:
    """A client of the service, whose own errors are answers with status 500; use it in a `with`."""
    service = Service(FileModels(path), limits or Limits())
    return TestClient(make_app(service), raise_server_exceptions=False)
