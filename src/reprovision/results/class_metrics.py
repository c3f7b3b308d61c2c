"""The metrics of each class: results/classes.csv, one row per class."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np

from reprovision.core.errors import UserError
from reprovision.core.files import write_csv
from reprovision.results.metrics import f1, precision, proportion_interval, recall, top_k_recall
from reprovision.results.predictions import Predictions
from reprovision.results.sums import Contributions, Settings


@dataclass(frozen=True)
class ClassMetrics:
    """The metrics of one class; a ratio without any image is 0.

    Attributes:
        recall_low, recall_high: Wilson's confidence interval of the recall.
        top_k_recall: images of this class that have it among their k most probable ones; NaN where
            the top-k accuracy is undefined.
        f1: the harmonic mean of precision and recall.
        roc_auc: area under the ROC curve of this class against all others; NaN where all test
            images are of this class, or none.
        images: test images of this class.
    """

    name: str
    precision: float
    recall: float
    recall_low: float
    recall_high: float
    top_k_recall: float
    f1: float
    roc_auc: float
    images: int


NUMBERS = tuple(field.name for field in fields(ClassMetrics) if field.type is float)


def measure_classes(
    predictions: Predictions, confidence: float, top_k: int, roc_auc: np.ndarray
) -> list[ClassMetrics]:
    """The metrics of each class, in order.

    Args:
        confidence: of the intervals, e.g. 0.95.
        roc_auc: float64 (classes,), NaN where it is undefined.
    """
    sums = Contributions(predictions, Settings(top_k=top_k)).sums()
    ratios = {
        "precision": precision(sums),
        "recall": recall(sums),
        "top_k_recall": top_k_recall(sums),
        "f1": f1(sums),
        "roc_auc": roc_auc,
    }
    found = []
    for label, name in enumerate(predictions.classes):
        images = int(sums.actual[label])
        low, high = proportion_interval(int(sums.correct[label]), images, confidence)
        of_class = {column: float(values[label]) for column, values in ratios.items()}
        found.append(
            ClassMetrics(name=name, recall_low=low, recall_high=high, images=images, **of_class)
        )
    return found


def write_class_metrics(path: str | Path, classes: Sequence[ClassMetrics]) -> None:
    """Writes one row per class, to 6 digits; NaN becomes an empty cell."""
    rows = [[_cell(value) for value in astuple(of_class)] for of_class in classes]
    write_csv(path, [field.name for field in fields(ClassMetrics)], rows)


def read_class_metrics(path: str | Path) -> list[ClassMetrics]:
    """Reads what `write_class_metrics` wrote.

    Raises:
        UserError: the content is something else.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(Path(path).read_text("utf-8"), newline="")))
        return [
            ClassMetrics(
                name=row["name"],
                images=int(row["images"]),
                **{name: float(row[name] or "nan") for name in NUMBERS},
            )
            for row in rows
        ]
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise UserError(
            f"{path} does not hold the metrics of classes ({error}): run `dvc repro` to regenerate "
            "it"
        ) from error


def _cell(value: str | float) -> str | int:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return value
