"""export: from a checkpoint to an ONNX model with its card, proved equal over the test images."""

from dataclasses import asdict
from pathlib import Path

from reprovision.core.files import md5_of_file, write_json, write_text
from reprovision.core.params import load_params
from reprovision.core.stage import run_stage
from reprovision.data.dataset import load_split
from reprovision.evaluation.metrics import measure, measure_classes, read_predictions
from reprovision.exporting.card import Facts, write_card
from reprovision.exporting.onnx import check_parity, export_onnx
from reprovision.models.checkpoint import load_checkpoint


def main(prepared: str, checkpoint: str, predictions: str, exported: str, report: str) -> None:
    params, loaded, out = load_params(), load_checkpoint(checkpoint), Path(exported)
    export_onnx(loaded, out / "model.onnx")
    test = load_split(prepared, "test")
    parity = check_parity(loaded, out / "model.onnx", test, params.export.tolerance)

    evaluated = read_predictions(predictions, loaded.header.dataset.classes)
    metrics = measure(evaluated, params.evaluate.confidence, params.evaluate.bins)
    classes = measure_classes(evaluated, params.evaluate.confidence)
    facts = Facts(loaded, md5_of_file(checkpoint), params, metrics, classes, parity)
    write_text(out / "README.md", write_card(facts))
    write_json(report, asdict(parity))
    size = (out / "model.onnx").stat().st_size / 1024
    print(
        f"model.onnx, {size:,.0f} KiB: PyTorch's class for {parity.same_predictions:,} of "
        f"{parity.images:,} test images, probabilities within {parity.max_difference:.1e}"
    )


if __name__ == "__main__":
    run_stage(main)
