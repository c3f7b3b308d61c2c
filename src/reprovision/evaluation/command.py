"""`reprovision evaluate`: how good a model is on images of another source."""

import sys
from pathlib import Path

from reprovision.core.errors import UserError, printable
from reprovision.core.files import write_json
from reprovision.core.params import Params
from reprovision.core.wording import count, did_you_mean, first_ten
from reprovision.evaluation.roc import roc_auc
from reprovision.evaluation.testing import (
    all_images,
    ask,
    count_training_images,
    images_set_apart,
    open_model,
)
from reprovision.results import layout
from reprovision.results.class_metrics import ClassMetrics, measure_classes, write_class_metrics
from reprovision.results.metrics import describe, measure, rounded
from reprovision.results.predictions import write_predictions
from reprovision.results.sums import Settings
from reprovision.sources import open_source


def evaluate(params: Params, path: Path, source: str, set_apart: bool, out: Path | None) -> None:
    """Prints the metrics of a model on a source, and writes them to a folder.

    Args:
        path: of a checkpoint or an exported model.
        set_apart: take only the images that prepare sets apart for testing.
        out: the folder, for files as in results/.

    Raises:
        UserError: the model or an image can't be read, or the model does not know a class.
    """
    opened = open_source(source, layout.downloads(), least_classes=1)
    model = open_model(path, params.evaluate.flip)
    images = images_set_apart(opened, params.data) if set_apart else all_images(opened)
    unknown = sorted(set(images.classes) - set(model.classes))
    if unknown:
        raise UserError(
            f"{source} has the class {unknown[0]}, which the model does not know: its classes are "
            f"{first_ten(model.classes)}{did_you_mean(unknown[0], model.classes)}"
        )
    if opened.val and not opened.test and not set_apart:
        print(
            f"note: of {source} only the images of train are evaluated, not those of val",
            file=sys.stderr,
        )
    answers = ask(model, images, params.data.on_bad_image)
    if trained_on := count_training_images(answers.digests, model, layout.PREPARED):
        print(
            f"warning: {trained_on:,} of {count(len(answers.digests), 'image')} are training "
            f"images in {layout.PREPARED}: if the model was trained on them, its metrics are too "
            "good",
            file=sys.stderr,
        )
    predictions, areas = answers.predictions, roc_auc(answers.logits, answers.labels)
    confidence, top_k = params.evaluate.confidence, params.evaluate.top_k
    metrics = measure(predictions, confidence, Settings(params.evaluate.bins, top_k), areas)
    classes = measure_classes(predictions, confidence, top_k, areas)
    if out:
        write_predictions(out / layout.PREDICTIONS.name, predictions)
        write_class_metrics(out / layout.CLASS_METRICS.name, classes)
        write_json(out / layout.TEST_METRICS.name, rounded(metrics))
    print(describe(metrics, confidence, f" of {source}"))
    _print_classes([found for found in classes if found.images])


def _print_classes(classes: list[ClassMetrics]) -> None:
    width = max(len(found.name) for found in classes)
    print(f"{'class':<{width}} {'images':>8} {'recall':>8}  interval")
    for found in classes:
        interval = f"{found.recall_low:.2%} to {found.recall_high:.2%}"
        name = printable(found.name)
        print(f"{name:<{width}} {found.images:>8,} {found.recall:>8.2%}  {interval}")
