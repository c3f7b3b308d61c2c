"""From a checkpoint to ONNX: pixels in, probabilities out, and proof that it says the same."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from reprovision.core.errors import UserError
from reprovision.core.files import write_bytes
from reprovision.data.dataset import Split
from reprovision.exporting.graph import build_graph
from reprovision.models.checkpoint import Checkpoint
from reprovision.models.inference import predict

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


def export_onnx(checkpoint: Checkpoint, path: Path) -> None:
    """Writes a model that takes uint8 (N, C, H, W) and gives float32 (N, classes).

    The same checkpoint gives the same bytes.
    """
    dataset = checkpoint.header.dataset
    classes = {"classes": "\n".join(dataset.classes)}
    model = build_graph(checkpoint.classifier, dataset.shape, classes)
    write_bytes(path, model.SerializeToString(deterministic=True))


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
            f"export.tolerance={tolerance:g} allows: a layer is written as something else in "
            "exporting/graph.py"
        )
    return parity
