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
from reprovision.data.dataset import load_split
from reprovision.exporting.card import Facts, write_card
from reprovision.exporting.onnx import check_parity, export_onnx
from reprovision.images import preprocessing
from reprovision.images.drawing import drawing_box
from reprovision.models.checkpoint import load_checkpoint
from reprovision.models.hardware import set_threads
from reprovision.results import layout
from reprovision.results.class_metrics import read_class_metrics
from reprovision.tracking.environment import save_export_check


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

    metrics = json.loads(layout.TEST_METRICS.read_text("utf-8"))
    classes = read_class_metrics(layout.CLASS_METRICS)
    md5 = md5_of_file(layout.CHECKPOINT)
    facts = Facts(checkpoint, md5, params, metrics, classes, parity)
    write_text(layout.CARD, write_card(facts))
    # whoever uses the model preprocesses as training did
    write_bytes(layout.PREPROCESSING, Path(preprocessing.__file__).read_bytes())
    write_json(
        layout.EXPORT_REPORT, {"images": parity.images, "same_predictions": parity.same_predictions}
    )
    save_export_check(digest_of_file(layout.CHECKPOINT), parity.max_difference)
    size = layout.ONNX_MODEL.stat().st_size / 1024
    print(
        f"model.onnx, {size:,.0f} KiB: same class as PyTorch for {parity.same_predictions:,} of "
        f"{count(parity.images, 'test image')}, probabilities within {parity.max_difference:.1e}"
    )


if __name__ == "__main__":
    run_stage(main)
