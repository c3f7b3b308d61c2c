"""The prepared tensors on disk: described by dataset.json, opened as memory maps."""

import hashlib
from dataclasses import dataclass
from math import prod
from pathlib import Path
from tokenize import TokenError
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from reprovision.core.errors import UserError
from reprovision.core.files import digest_of, write_json
from reprovision.core.memory import chunks
from reprovision.core.yaml_files import Section, load_yaml, parse_section
from reprovision.images.preprocessing import Preprocessing

SplitName = Literal["train", "val", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")
PerChannel = Annotated[tuple[float, ...], Field(min_length=1, max_length=3)]
Deviations = Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1, max_length=3)]

# NumPy parses the header of a file as Python literals
NUMPY_ERRORS = (
    *(OSError, ValueError, EOFError, SyntaxError, TypeError, MemoryError, OverflowError),
    TokenError,
)


class SplitInfo(Section):
    """The size and content of one split.

    Attributes:
        counts: images per class, in the order of the classes.
        digest: SHA-256 of pixels and labels: equal digests mean the same images in the same order.
        origins: SHA-256 of origins.txt.
        in_train: number of images whose pixels are those of a training image, too; 0 for train.
    """

    counts: tuple[Annotated[int, Field(ge=0)], ...]
    digest: str
    origins: str
    in_train: Annotated[int, Field(ge=0)]


class DatasetInfo(Section):
    """The content of dataset.json.

    Attributes:
        preprocessing: from an image file to the pixels of this dataset.
        mean, std: per channel, to normalise pixels in 0..1 with.
        splits: train, val (maybe empty) and test.
    """

    name: str
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    preprocessing: Preprocessing
    mean: PerChannel
    std: Deviations
    splits: dict[SplitName, SplitInfo]

    @model_validator(mode="after")
    def _lengths_agree(self) -> Self:
        if not len(self.mean) == len(self.std) == self.shape[0]:
            raise ValueError(f"mean and std must have {self.shape[0]} values, one per channel")
        if set(self.splits) != set(SPLITS):
            raise ValueError(f"splits must be {', '.join(SPLITS)}")
        if any(len(split.counts) != len(self.classes) for split in self.splits.values()):
            raise ValueError(f"counts must have {len(self.classes)} values, one per class")
        return self

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.preprocessing.shape

    @property
    def digest(self) -> str:
        """SHA-256 of the whole dataset: classes, normalisation and splits."""
        text = repr((self.classes, self.mean, self.std, [self.splits[s].digest for s in SPLITS]))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Split:
    """The images of one split.

    Attributes:
        images: uint8 (N, C, H, W), a memory map: pages are read when they are accessed.
        labels: int64 (N,).
    """

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


def write_info(folder: str | Path, info: DatasetInfo) -> None:
    """Writes dataset.json, with a digest of its content."""
    content = info.model_dump(mode="json")
    write_json(Path(folder) / "dataset.json", {**content, "sha256": _digest_of_info(info)})


def load_info(folder: str | Path) -> DatasetInfo:
    """Reads dataset.json; raises a UserError if it is missing or damaged."""
    # JSON is YAML: one reader gives one kind of message
    path = Path(folder) / "dataset.json"
    tree = load_yaml(path)
    digest = tree.pop("sha256", None) if isinstance(tree, dict) else None
    info = parse_section(DatasetInfo, tree, str(path))
    if digest != _digest_of_info(info):
        raise _damaged(path, "its digest does not match its content")
    return info


def load_split(folder: str | Path, split: SplitName) -> Split:
    """Opens one split and verifies its digest.

    Raises:
        UserError: a file is missing, or differs from what dataset.json describes.
    """
    info, path = load_info(folder), Path(folder) / split
    count = sum(info.splits[split].counts)
    images, labels = open_array(path / "images.npy"), open_array(path / "labels.npy")
    if images.shape != (count, *info.shape) or images.dtype != np.uint8:
        raise _damaged(path / "images.npy", f"{images.dtype} {images.shape}")
    if labels.shape != (count,) or labels.dtype != np.int64:
        raise _damaged(path / "labels.npy", f"{labels.dtype} {labels.shape}")
    if digest_of_split(images, labels) != info.splits[split].digest:
        raise _damaged(path, "its digest is not the one in dataset.json")
    return Split(images, labels)


def load_origins(folder: str | Path, split: SplitName) -> list[str]:
    """Where each image of a split comes from, in order.

    Raises:
        UserError: the file is missing, or differs from what dataset.json describes.
    """
    path = Path(folder) / split / "origins.txt"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _damaged(path, error) from error
    if hashlib.sha256(content).hexdigest() != load_info(folder).splits[split].origins:
        raise _damaged(path, "its digest is not the one in dataset.json")
    # file names may hold any character but a line feed
    return content.decode().split("\n")[:-1]


def digest_of_split(images: np.ndarray, labels: np.ndarray) -> str:
    """SHA-256 of pixels and labels, read in chunks so that memory stays bounded."""
    digest = hashlib.sha256()
    for rows in chunks(len(images), prod(images.shape[1:])):
        digest.update(np.ascontiguousarray(images[rows]))
    digest.update(np.ascontiguousarray(labels))
    return digest.hexdigest()


def _digest_of_info(info: DatasetInfo) -> str:
    return digest_of(info.model_dump_json().encode())


def open_array(path: Path) -> np.ndarray:
    """Opens a .npy file as a memory map; raises a UserError if it is missing or damaged."""
    try:
        # copy-on-write, because torch rejects read-only arrays; nothing is ever written
        return np.load(path, mmap_mode="c", allow_pickle=False).view(np.ndarray)
    except NUMPY_ERRORS as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, problem: object) -> UserError:
    return UserError(
        f"{path} is missing or damaged ({problem}): delete it if it exists, and run `dvc repro`"
    )
