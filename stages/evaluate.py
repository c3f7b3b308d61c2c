"""evaluate: from a checkpoint and the test images to predictions, metrics and plots."""

import torch

from reprovision.core.files import write_json
from reprovision.core.params import load_params
from reprovision.core.stage import run_stage
from reprovision.data.dataset import load_info, load_origins, load_split
from reprovision.evaluation import plots
from reprovision.evaluation.roc import roc_auc
from reprovision.models.checkpoint import load_checkpoint
from reprovision.models.hardware import describe_hardware, describe_numerics, set_threads
from reprovision.models.inference import predict
from reprovision.models.mirror import with_flip
from reprovision.results import layout
from reprovision.results.class_metrics import measure_classes, write_class_metrics
from reprovision.results.dataset import summarize
from reprovision.results.history import kept_epoch, read_history
from reprovision.results.metrics import describe, measure, rounded
from reprovision.results.numerics import Numerics
from reprovision.results.predictions import predictions_from, write_predictions
from reprovision.results.sums import Settings


def main() -> None:
    """Writes what the model predicts for the test images, and how good that is."""
    params = load_params()
    set_threads(params)
    test, origins = load_split(layout.PREPARED, "test"), load_origins(layout.PREPARED, "test")
    checkpoint, evaluate = load_checkpoint(layout.CHECKPOINT), params.evaluate
    model = with_flip(checkpoint.classifier, evaluate.flip)
    logits = predict(model, torch.from_numpy(test.images), evaluate.batch_size)
    names = checkpoint.header.dataset.classes
    predictions = predictions_from(logits.numpy(), test.labels, names, origins)
    areas, settings = roc_auc(logits.numpy(), test.labels), Settings(evaluate.bins, evaluate.top_k)
    metrics = rounded(measure(predictions, evaluate.confidence, settings, areas))
    classes = measure_classes(predictions, evaluate.confidence, evaluate.top_k, areas)

    write_predictions(layout.PREDICTIONS, predictions)
    write_class_metrics(layout.CLASS_METRICS, classes)
    write_json(layout.TEST_METRICS, metrics)
    # names the test set in Git: metrics over other images are not compared as if over the same
    write_json(layout.DATASET_SUMMARY, summarize(load_info(layout.PREPARED)).model_dump())
    hardware = describe_hardware(checkpoint.classifier.device, logits.dtype)
    numerics = Numerics(
        training=checkpoint.header.numerics, evaluation=describe_numerics(params, hardware)
    )
    write_json(layout.NUMERICS, numerics.model_dump())
    plots.draw_confusion_matrix(predictions, layout.CONFUSION_MATRIX)
    plots.draw_recall(classes, evaluate.confidence, layout.RECALL)
    plots.draw_reliability(predictions, evaluate.bins, layout.RELIABILITY)
    history = read_history(layout.HISTORY)
    plots.draw_curves(history, kept_epoch(history, params.train.keep), layout.CURVES)
    plots.draw_errors(test.images, predictions, evaluate.mistakes, layout.MISTAKES)
    print(f"test {describe(metrics, evaluate.confidence)}")


if __name__ == "__main__":
    run_stage(main)
