"""export: from a checkpoint to an ONNX model with its card, compared with PyTorch on all tests."""

import json
from pathlib import Path

from reprovision.core.files import (
    digest_of_file,
    md5_of_file,
    write_bytes,
    write_json,
    write_text,
)
from reprovision.core.params import load_params
from reprovision.core.stage import run_stage
from reprovision.core.wording import count
from reprovision.data.dataset import Split, load_split
from reprovision.exporting.card import Facts, write_card
from reprovision.exporting.int8 import Int8Check, check_int8, export_int8, measure_latency
from reprovision.exporting.onnx import check_parity, export_onnx
from reprovision.images import preprocessing
from reprovision.images.drawing import drawing_box
from reprovision.models.checkpoint import load_checkpoint
from reprovision.models.hardware import set_threads
from reprovision.results import layout
from reprovision.results.class_metrics import read_class_metrics
from reprovision.tracking.environment import ExportCheck, save_export_check


def main() -> None:
    """Writes the model and its card; fails where the model disagrees with PyTorch."""
    params, checkpoint = load_params(), load_checkpoint(layout.CHECKPOINT)
    set_threads(params)
    flip, tolerance = params.evaluate.flip, params.export.tolerance
    train = load_split(layout.PREPARED, "train").images
    box = drawing_box(train) if train.shape[1] == 1 else None
    export_onnx(checkpoint, layout.ONNX_MODEL, flip, box)
    test = load_split(layout.PREPARED, "test")
    parity = check_parity(checkpoint, layout.ONNX_MODEL, test, tolerance, flip)
    int8 = _quantize(test, params.export.max_drop) if params.export.quantize == "int8" else None

    metrics = json.loads(layout.TEST_METRICS.read_text("utf-8"))
    classes = read_class_metrics(layout.CLASS_METRICS)
    md5 = md5_of_file(layout.CHECKPOINT)
    facts = Facts(checkpoint, md5, params, metrics, classes, parity, int8)
    write_text(layout.CARD, write_card(facts))
    # whoever uses the model preprocesses as training did
    write_bytes(layout.PREPROCESSING, Path(preprocessing.__file__).read_bytes())
    report = {"images": parity.images, "same_predictions": parity.same_predictions}
    write_json(layout.EXPORT_REPORT, report | ({"int8": int8.report()} if int8 else {}))
    latency = measure_latency(layout.ONNX_MODEL, layout.INT8_MODEL, test.images) if int8 else {}
    found = ExportCheck(max_difference=parity.max_difference, **latency)
    save_export_check(digest_of_file(layout.CHECKPOINT), found)
    size = layout.ONNX_MODEL.stat().st_size / 1024
    print(
        f"model.onnx, {size:,.0f} KiB: same class as PyTorch for {parity.same_predictions:,} of "
        f"{count(parity.images, 'test image')}, probabilities within {parity.max_difference:.1e}"
    )
    if int8:
        print(
            f"model.int8.onnx, {int8.bytes_int8 / 1024:,.0f} KiB: another class for "
            f"{int8.changed:,} of them, accuracy {int8.accuracy_int8:.2%} instead of "
            f"{int8.accuracy_fp32:.2%}, {found.ms_int8:.2g} ms per image instead of "
            f"{found.ms_fp32:.2g} ms"
        )


def _quantize(test: Split, max_drop: float) -> Int8Check:
    """Writes the model of 8-bit integers; fails where it loses too much accuracy."""
    val, train = (load_split(layout.PREPARED, name).images for name in ("val", "train"))
    export_int8(layout.ONNX_MODEL, layout.INT8_MODEL, val if len(val) else train)
    return check_int8(layout.ONNX_MODEL, layout.INT8_MODEL, test, max_drop)


if __name__ == "__main__":
    run_stage(main)
