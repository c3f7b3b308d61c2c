"""evaluate: from a checkpoint and the test images to predictions, metrics and plots."""

from dataclasses import asdict
from pathlib import Path

import torch

from reprovision.core.files import write_json
from reprovision.core.params import load_params
from reprovision.core.stage import run_stage
from reprovision.data.dataset import load_info, load_origins, load_split
from reprovision.data.summary import summarize
from reprovision.evaluation import metrics as evaluation
from reprovision.evaluation import plots
from reprovision.models.checkpoint import load_checkpoint
from reprovision.models.inference import predict
from reprovision.training.history import read_history


def main(prepared: str, checkpoint: str, history: str, results: str) -> None:
    params, out = load_params().evaluate, Path(results)
    test, loaded = load_split(prepared, "test"), load_checkpoint(checkpoint)
    logits = predict(loaded.classifier, torch.from_numpy(test.images), params.batch_size)
    predictions = evaluation.predictions_from(
        logits.numpy(), test.labels, loaded.header.dataset.classes, load_origins(prepared, "test")
    )
    metrics = evaluation.measure(predictions, params.confidence, params.bins)
    classes = evaluation.measure_classes(predictions, params.confidence)

    evaluation.write_predictions(out / "predictions.csv", predictions)
    evaluation.write_class_metrics(out / "classes.csv", classes)
    plots.draw_confusion_matrix(predictions, out / "plots/confusion_matrix.png")
    plots.draw_recall(classes, params.confidence, out / "plots/recall.png")
    plots.draw_reliability(
        evaluation.reliability(predictions, params.bins), out / "plots/reliability.png"
    )
    plots.draw_curves(read_history(history), out / "plots/curves.png")
    plots.draw_mistakes(test.images, predictions, params.mistakes, out / "plots/mistakes.png")
    write_json(out / "test.json", asdict(metrics))
    # names the test set in Git: figures of other images are not to be compared as if of the same
    write_json(out / "dataset.json", summarize(load_info(prepared)).model_dump())
    print(
        f"test accuracy {metrics.accuracy:.2%} over {metrics.images:,} images "
        f"({params.confidence:.0%} interval {metrics.accuracy_low:.2%} to "
        f"{metrics.accuracy_high:.2%}), loss {metrics.loss:.4f}"
    )


if __name__ == "__main__":
    run_stage(main)
