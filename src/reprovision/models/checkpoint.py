"""A trained model as one self-describing file: weights, architecture, classes, normalisation.

The format is safetensors: the same content gives the same bytes, and loading runs no code.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from reprovision.core.errors import UserError
from reprovision.core.files import write_bytes
from reprovision.core.params import ModelParams, Section
from reprovision.data.dataset import DatasetInfo
from reprovision.models import Classifier, build_model

VERSION = 1


class CheckpointHeader(Section):
    """What the file says of itself, beside the weights.

    Attributes:
        version: of this format.
        model: the architecture.
        dataset: name, classes, image shape, normalisation and digests of the training data.
    """

    version: int
    model: ModelParams
    dataset: DatasetInfo


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint: the classifier is on the CPU and in evaluation mode."""

    classifier: Classifier
    header: CheckpointHeader


def save_checkpoint(
    path: str | Path, classifier: Classifier, model: ModelParams, dataset: DatasetInfo
) -> None:
    """Writes a checkpoint, whole or not at all."""
    header = CheckpointHeader(version=VERSION, model=model, dataset=dataset)
    weights = {name: value.cpu().contiguous() for name, value in classifier.state_dict().items()}
    # one entry only: safetensors writes several in no fixed order
    write_bytes(path, save(weights, {"reprovision": header.model_dump_json()}))


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Reads a checkpoint.

    Raises:
        UserError: the file is missing, damaged, of another version, or not a checkpoint.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            header = _header(path, (file.metadata() or {}).get("reprovision", ""))
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"{path} is not a whole checkpoint ({error}): run `dvc repro` to train it again"
        ) from error
    data = header.dataset
    classifier = build_model(header.model, data.shape, len(data.classes), data.mean, data.std)
    try:
        classifier.load_state_dict(weights)
    except RuntimeError as error:
        problem = " ".join(str(error).split())
        raise UserError(
            f"{path} does not hold the weights its header describes ({problem}): "
            "run `dvc repro` to train it again"
        ) from error
    return Checkpoint(classifier.eval(), header)


def _header(path: str | Path, text: str) -> CheckpointHeader:
    try:
        version = json.loads(text)["version"]
        if version != VERSION:
            raise UserError(
                f"{path} has format version {version}, but this program reads version {VERSION}: "
                "train it again, or use the reprovision it was made with"
            )
        return CheckpointHeader.model_validate_json(text)
    except (ValidationError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} was not written by reprovision: it has no valid header") from error
