"""From logits to predictions, and from predictions to the figures that describe a classifier."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy import special

from reprovision.core.errors import UserError
from reprovision.core.files import read_csv, write_csv

COLUMNS = ("image", "actual", "predicted", "confidence", "loss")


@dataclass(frozen=True)
class Predictions:
    """What a classifier said of N images, in order.

    Attributes:
        origins: where each image came from.
        classes: names, in the order of the labels.
        actual, predicted: int64 (N,), indices into the classes.
        confidence: float64 (N,), the probability of the predicted class.
        loss: float64 (N,), minus the natural logarithm of the actual class's probability.
    """

    origins: list[str]
    classes: tuple[str, ...]
    actual: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    loss: np.ndarray

    @property
    def correct(self) -> np.ndarray:
        """bool (N,)."""
        return self.actual == self.predicted


@dataclass(frozen=True)
class Metrics:
    """A classifier in figures, each over all images of a split.

    Attributes:
        accuracy: fraction of the images classified rightly.
        accuracy_low, accuracy_high: its confidence interval (Wilson, doi:10.2307/2276774).
        loss: mean cross-entropy in nats.
        macro_precision, macro_recall, macro_f1: means over the classes.
        calibration_error: expected calibration error (Guo and others, arXiv:1706.04599).
        images: how many.
    """

    accuracy: float
    accuracy_low: float
    accuracy_high: float
    loss: float
    macro_precision: float
    macro_recall: float
    macro_f1: float
    calibration_error: float
    images: int


@dataclass(frozen=True)
class ClassMetrics:
    """One class in figures; a ratio without any image is 0.

    Attributes:
        precision: fraction of the images taken for this class that are of it.
        recall: fraction of the images of this class that are taken for it.
        recall_low, recall_high: confidence interval of the recall (Wilson).
        f1: harmonic mean of precision and recall.
        images: of this class.
    """

    name: str
    precision: float
    recall: float
    recall_low: float
    recall_high: float
    f1: float
    images: int


@dataclass(frozen=True)
class Bin:
    """The images whose confidence lies in one range.

    Attributes:
        confidence, accuracy: means over the bin.
        images: how many; empty bins are left out.
    """

    confidence: float
    accuracy: float
    images: int


def predictions_from(
    logits: np.ndarray, labels: np.ndarray, classes: tuple[str, ...], origins: list[str]
) -> Predictions:
    """Predictions from logits (N, classes) and labels int64 (N,).

    Raises:
        UserError: a logit is not finite.
    """
    if not np.isfinite(logits).all():
        raise UserError(
            "the network's outputs are not finite numbers, its training has diverged: "
            "use a smaller train.lr"
        )
    log_probabilities = special.log_softmax(logits.astype(np.float64), axis=1)
    rows = np.arange(len(labels))
    predicted = log_probabilities.argmax(1)
    return Predictions(
        origins=origins,
        classes=classes,
        actual=labels,
        predicted=predicted,
        confidence=np.exp(log_probabilities[rows, predicted]),
        loss=-log_probabilities[rows, labels],
    )


def write_predictions(path: str | Path, predictions: Predictions) -> None:
    """Writes a row an image: origin, class names, confidence and loss to 6 digits."""
    p = predictions
    rows = (
        (origin, p.classes[actual], p.classes[predicted], f"{confidence:.6g}", f"{loss:.6g}")
        for origin, actual, predicted, confidence, loss in zip(
            p.origins, p.actual, p.predicted, p.confidence, p.loss, strict=True
        )
    )
    write_csv(path, COLUMNS, rows)


def read_predictions(path: str | Path, classes: tuple[str, ...]) -> Predictions:
    """Reads what `write_predictions` wrote; raises a UserError where the file is not that."""
    rows = read_csv(path)
    index = {name: i for i, name in enumerate(classes)}
    try:
        predictions = Predictions(
            origins=[row["image"] for row in rows],
            classes=classes,
            actual=np.array([index[row["actual"]] for row in rows], np.int64),
            predicted=np.array([index[row["predicted"]] for row in rows], np.int64),
            confidence=np.array([float(row["confidence"]) for row in rows]),
            loss=np.array([float(row["loss"]) for row in rows]),
        )
        if not rows or not np.isfinite(predictions.loss).all():
            raise ValueError("a loss for each image is missing")
        if not ((predictions.confidence >= 0) & (predictions.confidence <= 1)).all():
            raise ValueError("a confidence is no probability")
        return predictions
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} does not hold predictions ({error}): run `dvc repro` to make it again"
        ) from error


def measure(predictions: Predictions, confidence: float, bins: int) -> Metrics:
    """All figures over all images.

    Args:
        confidence: of the accuracy's interval, e.g. 0.95.
        bins: of equal width, for the calibration error.
    """
    low, high = interval(int(predictions.correct.sum()), len(predictions.actual), confidence)
    of_classes = measure_classes(predictions, confidence)
    return Metrics(
        accuracy=float(predictions.correct.mean()),
        accuracy_low=low,
        accuracy_high=high,
        loss=float(predictions.loss.mean()),
        macro_precision=float(np.mean([c.precision for c in of_classes])),
        macro_recall=float(np.mean([c.recall for c in of_classes])),
        macro_f1=float(np.mean([c.f1 for c in of_classes])),
        calibration_error=calibration_error(reliability(predictions, bins)),
        images=len(predictions.actual),
    )


def measure_classes(predictions: Predictions, confidence: float) -> list[ClassMetrics]:
    """The figures of each class, in order."""
    matrix = confusion_matrix(predictions)
    found = []
    for label, name in enumerate(predictions.classes):
        right, actual, taken = matrix[label, label], matrix[label].sum(), matrix[:, label].sum()
        low, high = interval(int(right), int(actual), confidence)
        found.append(
            ClassMetrics(
                name=name,
                precision=float(right / taken) if taken else 0.0,
                recall=float(right / actual) if actual else 0.0,
                recall_low=low,
                recall_high=high,
                f1=float(2 * right / (actual + taken)) if actual + taken else 0.0,
                images=int(actual),
            )
        )
    return found


def write_class_metrics(path: str | Path, classes: list[ClassMetrics]) -> None:
    """Writes a row a class, to 6 digits."""
    rows = [
        [f"{value:.6g}" if isinstance(value, float) else value for value in asdict(c).values()]
        for c in classes
    ]
    write_csv(path, list(ClassMetrics.__dataclass_fields__), rows)


def confusion_matrix(predictions: Predictions) -> np.ndarray:
    """int64 (classes, classes): images of the row's class that were taken for the column's."""
    count = len(predictions.classes)
    flat = np.bincount(predictions.actual * count + predictions.predicted, minlength=count**2)
    return flat.reshape(count, count)


def interval(successes: int, trials: int, confidence: float) -> tuple[float, float]:
    """Wilson's interval of a proportion (doi:10.2307/2276774); (0, 1) without any trial.

    scipy.stats has it, too, but takes half a second to import.
    """
    if trials == 0:
        return 0.0, 1.0
    share, weight = successes / trials, special.ndtri((1 + confidence) / 2) ** 2 / trials
    centre = share + weight / 2
    half = math.sqrt(weight * (share * (1 - share) + weight / 4))
    # at the ends rounding would leave the last digit off
    low = 0.0 if successes == 0 else (centre - half) / (1 + weight)
    high = 1.0 if successes == trials else (centre + half) / (1 + weight)
    return float(low), float(high)


def reliability(predictions: Predictions, bins: int) -> list[Bin]:
    """Groups the images by confidence, in bins of equal width from 0 to 1."""
    index = np.minimum((predictions.confidence * bins).astype(int), bins - 1)
    members = [index == i for i in range(bins) if (index == i).any()]
    return [
        Bin(
            confidence=float(predictions.confidence[rows].mean()),
            accuracy=float(predictions.correct[rows].mean()),
            images=int(rows.sum()),
        )
        for rows in members
    ]


def calibration_error(bins: list[Bin]) -> float:
    """Mean distance of confidence from accuracy, weighted by the bins' images."""
    total = sum(b.images for b in bins)
    return sum(b.images * abs(b.confidence - b.accuracy) for b in bins) / total


def worst_mistakes(predictions: Predictions, count: int) -> np.ndarray:
    """Indices of the most confident mistakes, the most confident first."""
    wrong = np.flatnonzero(~predictions.correct)
    order = np.argsort(-predictions.confidence[wrong], kind="stable")
    return wrong[order][:count]
