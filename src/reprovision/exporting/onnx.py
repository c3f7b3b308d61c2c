"""From a checkpoint to ONNX: pixels in, probabilities out, and a check that it agrees."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from reprovision.core.errors import UserError
from reprovision.core.files import write_bytes
from reprovision.data.dataset import Split
from reprovision.models.checkpoint import Checkpoint
from reprovision.models.inference import predict
from reprovision.models.mirror import with_flip
from reprovision.serving.predictor import CLASSES, DRAWING_BOX, PREPROCESSING, Predictor

OPSET = 20
"""Pinned: newer ones may not run everywhere."""

BATCH = 100
"""Images per batch of the comparison: affects speed only."""


@dataclass(frozen=True)
class Parity:
    """How far the exported model is from PyTorch over a split.

    Attributes:
        images: number of images compared.
        max_difference: largest difference in any probability.
        same_predictions: number of images for which both predict the same class.
    """

    images: int
    max_difference: float
    same_predictions: int


def export_onnx(
    checkpoint: Checkpoint, path: Path, flip: bool = False, box: float | None = None
) -> None:
    """Writes a model from `pixels`, uint8 (N, C, H, W), to `probabilities`, float32 (N, classes).

    The same checkpoint gives the same bytes.

    Args:
        flip: probabilities are the mean over each image and its mirror image.
        box: for drawings, see `images.drawing.drawing_box`; goes into the metadata.
    """
    dataset = checkpoint.header.dataset
    program = torch.onnx.export(
        nn.Sequential(with_flip(checkpoint.classifier, flip), nn.Softmax(1)).eval(),
        # in a batch of one the exporter would take the size for a constant
        (torch.zeros(2, *dataset.shape, dtype=torch.uint8),),
        input_names=["pixels"],
        output_names=["probabilities"],
        dynamic_shapes=({0: "N"},),
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    strip_paths(model)
    # torch's build, e.g. 2.15.0+cpu
    model.producer_version = ""
    onnx.helper.set_model_props(
        model,
        {
            CLASSES: json.dumps(dataset.classes, ensure_ascii=False),
            PREPROCESSING: json.dumps(asdict(dataset.preprocessing)),
            DRAWING_BOX: json.dumps(box),
        },
    )
    write_bytes(path, model.SerializeToString(deterministic=True))


def strip_paths(message: Any) -> None:
    """Clears stack traces and paths of the source code in a protobuf message and all its parts."""
    for name in ("metadata_props", "doc_string"):
        if name in message.DESCRIPTOR.fields_by_name:
            message.ClearField(name)
    for field, value in message.ListFields():
        if field.message_type:
            for child in [value] if hasattr(value, "ListFields") else value:
                strip_paths(child)


def check_parity(
    checkpoint: Checkpoint, path: Path, split: Split, tolerance: float, flip: bool = False
) -> Parity:
    """Compares the exported model with PyTorch over a whole split; `flip` as in `export_onnx`.

    Raises:
        UserError: a probability differs by more than the tolerance.
    """
    predictor = Predictor(path)
    model = with_flip(checkpoint.classifier, flip)
    logits = predict(model, torch.from_numpy(split.images), BATCH)
    expected = logits.softmax(1).numpy()
    batches = [split.images[i : i + BATCH] for i in range(0, len(split), BATCH)]
    exported = np.concatenate([predictor.probabilities(batch) for batch in batches])
    difference = np.abs(exported - expected).max(1)
    parity = Parity(
        images=len(split),
        max_difference=float(difference.max()),
        same_predictions=int((exported.argmax(1) == expected.argmax(1)).sum()),
    )
    # nan is not within the tolerance either
    if not parity.max_difference <= tolerance:
        raise UserError(
            f"the exported model differs from PyTorch by {parity.max_difference:.2g} in the "
            f"probabilities of test image {int(difference.argmax())}, more than "
            f"export.tolerance={tolerance:g} allows: raise it if that is acceptable"
        )
    return parity
