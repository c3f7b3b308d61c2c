"""Tests a model on images that it was not trained with: of another source, or of another time."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from tqdm import tqdm

from reprovision.core.errors import UserError
from reprovision.core.params import DataParams
from reprovision.data.dataset import SPLITS, load_info, open_array
from reprovision.images.preprocessing import Preprocessing
from reprovision.results.predictions import Predictions, predictions_from
from reprovision.serving.predictor import Predictor
from reprovision.sources.digests import digests_of
from reprovision.sources.files import report_unreadable
from reprovision.sources.source import UNUSED, Part, Source, choose_classes
from reprovision.sources.splits import assign

MOST_BYTES = 2**31
"""Of training images that others are compared with: reading them takes seconds."""


class Model(Protocol):
    """What can be tested: an exported model, or a checkpoint.

    Attributes:
        classes: names, in the order of the probabilities.
        preprocessing: from image files to the model's pixels.
    """

    classes: tuple[str, ...]
    preprocessing: Preprocessing

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        """(N, classes) of uint8 pixels (N, C, H, W)."""


class CheckpointModel:
    """A checkpoint as a model that can be tested; see `Model`.

    Args:
        flip: `evaluate.flip`, which is part of an exported model.
    """

    def __init__(self, path: Path, flip: bool) -> None:
        # torch takes seconds to import, and exported models don't need it
        from reprovision.models.checkpoint import load_checkpoint
        from reprovision.models.mirror import with_flip

        checkpoint = load_checkpoint(path)
        self.classifier = with_flip(checkpoint.classifier, flip)
        self.classes = checkpoint.header.dataset.classes
        self.preprocessing = checkpoint.header.dataset.preprocessing

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        import torch

        from reprovision.models.inference import predict

        logits = predict(self.classifier, torch.from_numpy(pixels), batch_size=len(pixels))
        return logits.softmax(1).numpy()


def open_model(path: Path, flip: bool = False) -> Model:
    """Opens a checkpoint (.safetensors) or an exported model; raises a UserError if it is none."""
    return CheckpointModel(path, flip) if path.suffix == ".safetensors" else Predictor(path)


@dataclass(frozen=True)
class LabelledImages:
    """Labelled images of a source.

    Attributes:
        part: of the source.
        rows: (N,) int64, increasing.
        classes: names of the part's labels.
    """

    part: Part
    rows: np.ndarray
    classes: tuple[str, ...]


def all_images(source: Source) -> LabelledImages:
    """The test images of a source where it has a test set of its own, else all images."""
    part = source.test or source.train
    return LabelledImages(part, np.flatnonzero(part.labels != UNUSED), source.classes)


def images_set_apart(source: Source, params: DataParams) -> LabelledImages:
    """The test images that prepare takes or sets apart; raises a UserError as it does."""
    source, test = choose_classes(source, params.classes), SPLITS.index("test")
    for part, splits in assign(source, params):
        if (splits == test).any():
            return LabelledImages(part, np.flatnonzero(splits == test), source.classes)
    raise AssertionError("every source has test images, or they are set apart")


@dataclass(frozen=True)
class Answers:
    """What a model says of N images.

    Attributes:
        classes: those of the model, then those that it does not know.
        logits: float64 (N, classes).
        labels: int64 (N,).
        origins: where each image comes from.
        digests: uint64 (N,), of the pixels that the model has seen.
    """

    classes: tuple[str, ...]
    logits: np.ndarray
    labels: np.ndarray
    origins: list[str]
    digests: np.ndarray

    @property
    def predictions(self) -> Predictions:
        """The most probable classes."""
        return predictions_from(self.logits, self.labels, self.classes, self.origins)


def ask(model: Model, images: LabelledImages, on_bad_image: str) -> Answers:
    """What a model says of images.

    Args:
        on_bad_image: `fail` or `skip`, as `data.on_bad_image`.

    Raises:
        UserError: an image can't be read.
    """
    part, bad = images.part, list[tuple[str, str]]()

    def report(row: int, reason: str) -> None:
        bad.append((part.origin(row), reason))

    rows, found, digests = [], [], []
    with tqdm(total=len(images.rows), unit=" images", leave=False, disable=None) as bar:
        for read, pixels in part.read(model.preprocessing, images.rows, report):
            rows.append(read)
            found += [model.probabilities(batch) for batch in _batches(pixels)]
            digests.append(digests_of(np.ascontiguousarray(image).data for image in pixels))
            bar.update(len(read))
    report_unreadable(bad, len(images.rows), "images", on_bad_image)
    if not found:
        raise UserError("there are no images to test the model on: name another source")
    read_rows = np.concatenate(rows)
    names = [images.classes[label] for label in part.labels[read_rows]]
    origins = [part.origin(row) for row in read_rows.tolist()]
    classes, logits, labels = _answers(model.classes, np.concatenate(found), names)
    return Answers(classes, logits, labels, origins, np.concatenate(digests))


def _batches(pixels: np.ndarray) -> Iterable[np.ndarray]:
    # as many as fit in the processor's cache, as `evaluate.batch_size`
    return (pixels[start : start + 100] for start in range(0, len(pixels), 100))


def _answers(
    known: tuple[str, ...], probabilities: np.ndarray, names: Sequence[str]
) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Classes, logits and labels of images of the classes named, some of which may be unknown."""
    classes = known + tuple(sorted(set(names) - set(known)))
    label_of = {name: label for label, name in enumerate(classes)}
    smallest = np.finfo(np.float32).tiny
    padded = np.full((len(names), len(classes)), smallest)
    padded[:, : len(known)] = np.maximum(probabilities, smallest)
    labels = np.array([label_of[name] for name in names], np.int64)
    return classes, np.log(padded), labels


def count_training_images(digests: np.ndarray, model: Model, prepared: Path) -> int:
    """How many images have the pixels of a training image in a folder of prepared tensors.

    0 where there are none that were prepared as the model wants it, and where they are more than
    `MOST_BYTES`.

    Args:
        digests: uint64 (N,), of the pixels.
    """
    try:
        info = load_info(prepared)
        images = open_array(prepared / "train" / "images.npy")
    except UserError:
        # nothing is prepared, or not by this version: what is wrong, `dvc repro` reports
        return 0
    if info.preprocessing != model.preprocessing or images.nbytes > MOST_BYTES:
        return 0
    return int(np.isin(digests, digests_of(image.data for image in images)).sum())
