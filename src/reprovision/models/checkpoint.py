"""A trained model as one self-describing file: parameters, architecture, classes, normalization.

The format is safetensors: the same content gives the same bytes, and loading runs no code.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from reprovision.core.errors import UserError
from reprovision.core.files import digest_of, write_bytes
from reprovision.core.params import ModelParams
from reprovision.core.yaml_files import Section
from reprovision.data.dataset import DatasetInfo
from reprovision.models.classifier import Classifier, build_model

VERSION = 3


class CheckpointHeader(Section):
    """What the file contains besides the tensors.

    Attributes:
        version: of this format.
        model: the architecture.
        dataset: name, classes, image shape, normalization and digests of the training data.
        numerics: what decided the bytes of the training, see `models/hardware.py`; empty where
            that is unknown.
        digest: SHA-256 of all of the above and of the tensors.
    """

    version: int
    model: ModelParams
    dataset: DatasetInfo
    numerics: dict[str, str]
    digest: str = ""


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint: the classifier is on the CPU and in evaluation mode."""

    classifier: Classifier
    header: CheckpointHeader


def save_checkpoint(
    path: str | Path,
    classifier: Classifier,
    model: ModelParams,
    dataset: DatasetInfo,
    numerics: Mapping[str, str] | None = None,
) -> None:
    """Writes a checkpoint, whole or not at all; see `CheckpointHeader` for the arguments."""
    tensors = {name: value.cpu().contiguous() for name, value in classifier.state_dict().items()}
    header = CheckpointHeader(
        version=VERSION, model=model, dataset=dataset, numerics=dict(numerics or {})
    )
    header = header.model_copy(update={"digest": _digest(header, tensors)})
    # one entry only: safetensors writes several in no fixed order
    write_bytes(path, save(tensors, {"reprovision": header.model_dump_json()}))


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Reads a checkpoint.

    Raises:
        UserError: the file is missing, corrupt, of another version, or not a checkpoint.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            header = _parse_header(path, (file.metadata() or {}).get("reprovision", ""))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"{path} is missing or not a complete checkpoint ({error}): run `dvc repro`"
        ) from error
    if header.digest != _digest(header, tensors):
        raise UserError(f"{path} is corrupt: delete it and run `dvc repro`")
    classifier = _build_with(path, header, tensors).eval()
    # as in training: convolutions are faster in this order
    return Checkpoint(classifier.to(memory_format=torch.channels_last), header)


def digest_of_tensors(tensors: Mapping[str, Tensor], text: str) -> str:
    """SHA-256 of named tensors, with their types and shapes, and of a text."""
    return digest_of(save(dict(tensors)), text.encode())


def _digest(header: CheckpointHeader, tensors: Mapping[str, Tensor]) -> str:
    return digest_of_tensors(tensors, header.model_copy(update={"digest": ""}).model_dump_json())


def _parse_header(path: str | Path, text: str) -> CheckpointHeader:
    try:
        version = json.loads(text)["version"]
        # a newer version may have other keys
        header = CheckpointHeader.model_validate_json(text) if version == VERSION else None
    except (ValidationError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path} was not written by reprovision: it has no valid header") from error
    if header is None:
        raise UserError(
            f"{path} has format version {version}, but this program reads version {VERSION}: "
            "run `dvc repro`, or use the version of reprovision that wrote it"
        )
    return header


def _build_with(
    path: str | Path, header: CheckpointHeader, tensors: Mapping[str, Tensor]
) -> Classifier:
    """The header's architecture with the given parameters and buffers.

    One of our own is built on the meta device: a header that claims a huge network allocates no
    memory. Networks of libraries have tensors that no file holds.
    """
    data = header.dataset
    try:
        with torch.device("meta" if header.model.is_own else "cpu"):
            classifier = build_model(
                header.model, data.shape, len(data.classes), data.mean, data.std
            )
        for name, value in classifier.state_dict().items():
            if name in tensors and tensors[name].dtype != value.dtype:
                raise RuntimeError(f"{name} has dtype {tensors[name].dtype}")
        classifier.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        problem = " ".join(str(error).split())
        raise UserError(
            f"{path} does not hold the parameters that its header describes ({problem}): "
            "delete it and run `dvc repro`"
        ) from error
    return classifier
