"""The training history as a file: results/history.csv, a row an epoch."""

from dataclasses import astuple, dataclass, fields
from pathlib import Path

from reprovision.core.errors import UserError
from reprovision.core.files import read_csv, write_csv


@dataclass(frozen=True)
class Epoch:
    """One epoch in figures.

    Attributes:
        epoch: counted from 1.
        train_loss, train_accuracy: means over the epoch's images, while the weights changed.
        val_loss, val_accuracy: after the epoch; None without a validation split.
        lr: learning rate of the last step.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    lr: float


def write_history(path: str | Path, history: list[Epoch]) -> None:
    """Writes all epochs, with every digit; what is None is left empty."""
    write_csv(path, [f.name for f in fields(Epoch)], map(astuple, history))


def read_history(path: str | Path) -> list[Epoch]:
    """Reads what `write_history` wrote; raises a UserError where the file is not that."""
    rows = read_csv(path)
    try:
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
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} does not hold a history ({error}): run `dvc repro` to make it again"
        ) from error
