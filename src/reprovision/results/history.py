"""The training history: results/history.csv, one row per epoch."""

import csv
import io
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from reprovision.core.errors import UserError
from reprovision.core.files import write_csv


@dataclass(frozen=True)
class Epoch:
    """The metrics of one epoch.

    Attributes:
        epoch: counted from 1.
        train_loss, train_accuracy: means over the epoch's images, while the parameters changed. The
            loss is the one that is minimized: label smoothing and, with `train.balance: loss`, the
            weights of the classes are part of it.
        val_loss, val_accuracy: after the epoch; None without a validation split.
        lr: learning rate of the last step.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    lr: float


def write_history(path: str | Path, history: Sequence[Epoch]) -> None:
    """Writes all epochs with every digit; None becomes an empty cell."""
    write_csv(path, [f.name for f in fields(Epoch)], map(astuple, history))


def parse_history(content: bytes, where: str) -> list[Epoch]:
    """Reads what `write_history` wrote.

    Raises:
        UserError: the content is something else.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
        return [
            Epoch(
                epoch=int(row["epoch"]),
                train_loss=float(row["train_loss"]),
                train_accuracy=float(row["train_accuracy"]),
                val_loss=float(row["val_loss"]) if row["val_loss"] else None,
                val_accuracy=float(row["val_accuracy"]) if row["val_accuracy"] else None,
                lr=float(row["lr"]),
            )
            for row in rows
        ]
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise UserError(
            f"{where} does not hold a training history ({error}): run `dvc repro` to regenerate it"
        ) from error


def read_history(path: str | Path) -> list[Epoch]:
    """Reads a history file; raises as `parse_history` does."""
    return parse_history(Path(path).read_bytes(), str(path))


def kept_epoch(history: Sequence[Epoch], keep: str) -> Epoch:
    """The epoch whose parameters are kept, as `train.keep` has it.

    Args:
        keep: `last`, or `best` by validation accuracy, then loss; of equal ones it is the first.
    """
    if keep == "last":
        return history[-1]
    return max(history, key=lambda epoch: (epoch.val_accuracy or 0, -(epoch.val_loss or 0)))


def has_stalled(history: Sequence[Epoch], patience: int | None, since: int = 0) -> bool:
    """Whether so many epochs have passed without a better one, in the order of `kept_epoch`.

    Args:
        patience: number of epochs; None waits forever.
        since: epochs before the counting starts.
    """
    if patience is None or len(history) <= since:
        return False
    return len(history) - max(kept_epoch(history, "best").epoch, since) >= patience
