"""The predictions of a classifier over the test images: results/predictions.csv."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import special

from reprovision.core.errors import UserError
from reprovision.core.files import write_csv

ARRAYS = ("actual", "predicted", "confidence", "loss", "rank")

COLUMNS = ("image", *ARRAYS)


@dataclass(frozen=True)
class Predictions:
    """What a classifier predicts for N images, in order.

    Attributes:
        origins: where each image comes from.
        classes: names, in the order of the labels.
        actual, predicted: int64 (N,), indices into the classes.
        confidence: float64 (N,), the probability of the predicted class.
        loss: float64 (N,), cross-entropy in nats.
        rank: int64 (N,), place of the actual class among all by probability; 1 where it is
            predicted. None in files of older versions.
    """

    origins: list[str]
    classes: tuple[str, ...]
    actual: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    loss: np.ndarray
    rank: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.actual)

    @property
    def correct(self) -> np.ndarray:
        """bool (N,)."""
        return self.actual == self.predicted

    def take(self, rows: Sequence[int]) -> "Predictions":
        """Those of some images, in the order given."""
        arrays = {name: getattr(self, name) for name in ARRAYS}
        taken = {name: array[list(rows)] for name, array in arrays.items() if array is not None}
        return replace(self, origins=[self.origins[row] for row in rows], **taken)

    def most_confident_errors(self, count: int) -> np.ndarray:
        """Indices of the incorrectly classified images of the highest confidence, int64."""
        errors = np.flatnonzero(~self.correct)
        return errors[np.argsort(-self.confidence[errors], kind="stable")][:count]


def predictions_from(
    logits: np.ndarray, labels: np.ndarray, classes: tuple[str, ...], origins: list[str]
) -> Predictions:
    """Predictions from logits (N, classes) and labels int64 (N,).

    Raises:
        UserError: a logit is not finite.
    """
    if not np.isfinite(logits).all():
        raise UserError(
            "the outputs of the network are not finite, because training diverged: "
            "use a smaller train.lr"
        )
    log_probabilities = special.log_softmax(logits.astype(np.float64), axis=1)
    rows = np.arange(len(labels))
    predicted = log_probabilities.argmax(1)
    of_actual = log_probabilities[rows, labels][:, None]
    # of equally probable classes the first comes first, as argmax has it
    earlier = np.arange(len(classes)) < labels[:, None]
    before = (log_probabilities > of_actual) | ((log_probabilities == of_actual) & earlier)
    return Predictions(
        origins=origins,
        classes=classes,
        actual=labels,
        predicted=predicted,
        confidence=np.exp(log_probabilities[rows, predicted]),
        loss=-log_probabilities[rows, labels],
        rank=1 + before.sum(1),
    )


def write_predictions(path: str | Path, predictions: Predictions) -> None:
    """Writes one row per image: origin, class names, confidence and loss to 6 digits, rank.

    Predictions that were read from a file without ranks are written without them, too.
    """
    p = predictions
    columns: list[Iterable[object]] = [
        p.origins,
        (p.classes[label] for label in p.actual),
        (p.classes[label] for label in p.predicted),
        (f"{confidence:.6g}" for confidence in p.confidence),
        (f"{loss:.6g}" for loss in p.loss),
    ]
    if p.rank is not None:
        columns.append(p.rank)
    write_csv(path, COLUMNS[: len(columns)], zip(*columns, strict=True))


def parse_predictions(content: bytes, classes: tuple[str, ...], where: str) -> Predictions:
    """Reads what `write_predictions` wrote.

    Raises:
        UserError: the content is something else.
    """
    index = {name: i for i, name in enumerate(classes)}
    try:
        rows = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
        predictions = Predictions(
            origins=[row["image"] for row in rows],
            classes=classes,
            actual=np.array([index[row["actual"]] for row in rows], np.int64),
            predicted=np.array([index[row["predicted"]] for row in rows], np.int64),
            confidence=np.array([float(row["confidence"]) for row in rows]),
            loss=np.array([float(row["loss"]) for row in rows]),
            rank=_parse_ranks(rows),
        )
        if not all(origin.isprintable() for origin in predictions.origins):
            raise ValueError("a name of an image is not printable")
        if not rows or not np.isfinite(predictions.loss).all():
            raise ValueError("a loss is missing")
        if not ((predictions.confidence >= 0) & (predictions.confidence <= 1)).all():
            raise ValueError("a confidence is not a probability")
        rank = predictions.rank
        if rank is not None and not ((rank >= 1) & (rank <= len(classes))).all():
            raise ValueError("a rank is not that of a class")
        return predictions
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise UserError(
            f"{where} does not hold predictions ({error}): run `dvc repro` to regenerate it"
        ) from error


def _parse_ranks(rows: Sequence[Mapping[str, str]]) -> np.ndarray | None:
    """The column of ranks; None for files of older versions, which lack it."""
    if rows and "rank" not in rows[0]:
        return None
    return np.array([int(row["rank"]) for row in rows], np.int64)


def read_predictions(path: str | Path, classes: tuple[str, ...]) -> Predictions:
    """Reads a predictions file; raises as `parse_predictions` does."""
    return parse_predictions(Path(path).read_bytes(), classes, str(path))
