"""From a checkpoint to ONNX: pixels in, probabilities out, and proof that it says the same."""

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from reprovision.core.errors import UserError
from reprovision.core.files import write_bytes
from reprovision.data.dataset import Split
from reprovision.models.checkpoint import Checkpoint
from reprovision.models.inference import predict

OPSET = 20
"""Pinned: what a newer exporter would choose may not run where older models do."""

BATCH = 100
"""Images at a time for the comparison: speed only."""


@dataclass(frozen=True)
class Parity:
    """How far the exported model is from PyTorch over a split.

    Attributes:
        images: compared.
        max_difference: the largest in any probability.
        same_predictions: how many images both put in the same class.
    """

    images: int
    max_difference: float
    same_predictions: int


class _Probabilities(nn.Module):
    """A classifier that ends in probabilities."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, pixels: Tensor) -> Tensor:
        probabilities: Tensor = self.classifier(pixels).softmax(1)
        return probabilities


def export_onnx(checkpoint: Checkpoint, path: Path) -> None:
    """Writes a model that takes uint8 (N, C, H, W) and gives float32 (N, classes).

    The same checkpoint gives the same bytes in every folder: what torch records of itself, of
    stack traces and of paths is left out.
    """
    pixels = torch.zeros(2, *checkpoint.header.dataset.shape, dtype=torch.uint8)
    with warnings.catch_warnings():
        # of torch's own deprecations, which the user can do nothing about
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            _Probabilities(checkpoint.classifier).eval(),
            (pixels,),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("N")},),
            opset_version=OPSET,
            input_names=["pixels"],
            output_names=["probabilities"],
            external_data=False,
            verbose=False,
        )
    assert program is not None, "dynamo=True returns a program"
    model = _strip(program.model_proto)
    model.metadata_props.add(key="classes", value="\n".join(checkpoint.header.dataset.classes))
    write_bytes(path, model.SerializeToString(deterministic=True))


def _strip(model: onnx.ModelProto) -> onnx.ModelProto:
    """Removes stack traces, which hold absolute paths, and the like."""
    graph = model.graph
    for described in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        described.ClearField("doc_string")
        described.ClearField("metadata_props")
    del graph.value_info[:]
    model.producer_name, model.producer_version = "reprovision", ""
    onnx.checker.check_model(model)
    return model


def check_parity(checkpoint: Checkpoint, path: Path, split: Split, tolerance: float) -> Parity:
    """Compares the exported model with PyTorch over a whole split.

    Raises:
        UserError: a probability differs by more than the tolerance.
    """
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    logits = predict(checkpoint.classifier, torch.from_numpy(split.images), BATCH)
    expected = logits.softmax(1).numpy()
    batches = range(0, len(split), BATCH)
    got = [session.run(None, {"pixels": split.images[i : i + BATCH]})[0] for i in batches]
    exported = np.concatenate(got)
    difference = np.abs(exported - expected).max(1)
    parity = Parity(
        images=len(split),
        max_difference=float(difference.max()),
        same_predictions=int((exported.argmax(1) == expected.argmax(1)).sum()),
    )
    if not parity.max_difference <= tolerance:
        raise UserError(
            f"the exported model differs from PyTorch by {parity.max_difference:.2g} in the "
            f"probabilities of test image {int(difference.argmax())}, more than "
            f"export.tolerance={tolerance:g} allows: check the network for what ONNX can't express"
        )
    return parity
