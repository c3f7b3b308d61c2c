"""From an exported model to one of 8-bit integers, smaller and mostly faster, and what it costs."""

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from reprovision.core.errors import UserError
from reprovision.core.files import write_bytes
from reprovision.data.dataset import Split
from reprovision.exporting.onnx import BATCH, strip_paths
from reprovision.results.metrics import rounded
from reprovision.results.statistics import paired_difference
from reprovision.serving.predictor import Predictor

CALIBRATION = 256
"""Images that the ranges of the activations are measured on."""

LAYERS = ("Conv", "Gemm", "MatMul")
"""Operators that hold most of a network's weights."""

TIMED = 50
"""Images that a latency is measured on."""


@dataclass(frozen=True)
class Int8Check:
    """What 8-bit integers cost over a split.

    Attributes:
        accuracy_fp32, accuracy_int8: the share of images that each model classifies correctly.
        changed: number of images that get another class.
        p: probability of so large a difference in accuracy if both were equally good: McNemar's
            exact test.
        bytes_fp32, bytes_int8: sizes of the files.
    """

    accuracy_fp32: float
    accuracy_int8: float
    changed: int
    p: float
    bytes_fp32: int
    bytes_int8: int

    def report(self) -> dict[str, float]:
        """As results/export.json has it."""
        return rounded(
            {
                "accuracy_fp32": self.accuracy_fp32,
                "accuracy_int8": self.accuracy_int8,
                "changed_predictions": self.changed,
                "mcnemar_p": self.p,
                "bytes_fp32": self.bytes_fp32,
                "bytes_int8": self.bytes_int8,
            }
        )


def export_int8(model: Path, path: Path, images: np.ndarray) -> None:
    """Quantizes an exported model: weights to int8 per channel, activations to uint8.

    The layers from the first to the last are quantized. What precedes them normalizes pixels, which
    a coarser scale would shift, and what follows makes probabilities, whose smallest step would be
    1/255. `reduce_range` leaves weights 7 bits: on processors without VNNI, sums of 8-bit products
    saturate, and the answers would be others.

    Args:
        model: as `export_onnx` wrote it; the result has its metadata.
        images: uint8 (N, C, H, W), N > 0, to measure ranges of activations on; `CALIBRATION` of
            them count, evenly spaced, because images may be sorted by class.
    """
    with TemporaryDirectory() as folder:
        prepared, quantized = Path(folder, "prepared.onnx"), Path(folder, "quantized.onnx")
        # symbolic shapes are for transformers, and fail on a mirror image
        quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            prepared,
            quantized,
            _Calibration(images),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=_nodes_to_quantize(onnx.load(prepared)),
            calibrate_method=CalibrationMethod.MinMax,
        )
        result = onnx.load(quantized)
    strip_paths(result)
    result.metadata_props.extend(onnx.load(model).metadata_props)
    used = {node.domain for node in result.graph.node}
    kept = [opset for opset in result.opset_import if opset.domain in used]
    del result.opset_import[:]
    result.opset_import.extend(kept)
    write_bytes(path, result.SerializeToString(deterministic=True))


def _nodes_to_quantize(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes from the first layer to the last.

    ONNX Runtime has no batch normalization of integers.
    """
    nodes = model.graph.node
    layers = [number for number, node in enumerate(nodes) if node.op_type in LAYERS]
    between = nodes[layers[0] : layers[-1] + 1]
    return [node.name for node in between if node.op_type != "BatchNormalization"]


class _Calibration(CalibrationDataReader):  # type: ignore[misc]
    """The images that ranges are measured on, in batches."""

    def __init__(self, images: np.ndarray) -> None:
        count = min(len(images), CALIBRATION)
        chosen = images[np.arange(count) * len(images) // count]
        self._batches = (chosen[i : i + BATCH] for i in range(0, count, BATCH))

    def get_next(self) -> dict[str, np.ndarray] | None:
        """A batch by the name of the input; None after the last one."""
        batch = next(self._batches, None)
        return None if batch is None else {"pixels": batch}


def check_int8(model: Path, int8: Path, split: Split, max_drop: float) -> Int8Check:
    """Compares the quantized model with the exported one over a whole split.

    Raises:
        UserError: the share of images classified correctly drops by more than `max_drop`.
    """
    fp32, other = (_predictions(path, split.images) for path in (model, int8))
    was, now = fp32 == split.labels, other == split.labels
    fixed, regressed = int((now & ~was).sum()), int((was & ~now).sum())
    drop = (regressed - fixed) / len(split)
    if drop > max_drop:
        raise UserError(
            f"int8 lowers the accuracy over the {len(split):,} test images from {was.mean():.2%} "
            f"to {now.mean():.2%}, by more than export.max_drop={max_drop:g} allows: raise it if "
            "that is acceptable, or set export.quantize=none"
        )
    return Int8Check(
        accuracy_fp32=float(was.mean()),
        accuracy_int8=float(now.mean()),
        changed=int((fp32 != other).sum()),
        p=paired_difference(fixed, regressed, len(split), 0.95).p,
        bytes_fp32=model.stat().st_size,
        bytes_int8=int8.stat().st_size,
    )


def _predictions(path: Path, images: np.ndarray) -> np.ndarray:
    """The class of each image, int64 (N,)."""
    predictor = Predictor(path)
    batches = (images[i : i + BATCH] for i in range(0, len(images), BATCH))
    return np.concatenate([predictor.probabilities(batch).argmax(1) for batch in batches])


def measure_latency(model: Path, int8: Path, images: np.ndarray) -> dict[str, float]:
    """The median milliseconds of both models for one image of uint8 (N, C, H, W) on one thread.

    The models take turns, so that other load on the machine slows both of them.
    """
    predictors = [Predictor(path, threads=1) for path in (model, int8)]
    singles = [image[None] for image in images[:TIMED]]
    for predictor in predictors:
        # a first answer takes longer
        predictor.probabilities(singles[0])
    rounds = [[_seconds(predictor, image) for predictor in predictors] for image in singles]
    fp32, other = (1000 * statistics.median(seconds) for seconds in zip(*rounds, strict=True))
    return {"ms_fp32": fp32, "ms_int8": other}


def _seconds(predictor: Predictor, pixels: np.ndarray) -> float:
    began = time.perf_counter()
    predictor.probabilities(pixels)
    return time.perf_counter() - began
