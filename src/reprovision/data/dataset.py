"""The prepared tensors as they lie on disk: described by dataset.json, opened as memory maps."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from reprovision.core.errors import UserError
from reprovision.core.files import digest_of, write_json
from reprovision.core.params import Section, load_yaml, parse_section

SplitName = Literal["train", "val", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")
PerChannel = Annotated[tuple[float, ...], Field(min_length=1, max_length=3)]
Side = Annotated[int, Field(ge=1, le=4096)]

# what numpy raises on a damaged file; its header is parsed as Python literals
DAMAGE = (OSError, ValueError, EOFError, SyntaxError, TypeError, MemoryError, TokenError)


class SplitInfo(Section):
    """A split in figures.

    Attributes:
        counts: images of each class, in the order of the classes.
        digest: SHA-256 of pixels and labels: equal digests mean the same images in the same order.
        origins: SHA-256 of origins.txt.
    """

    counts: tuple[Annotated[int, Field(ge=0)], ...]
    digest: str
    origins: str


class DatasetInfo(Section):
    """What dataset.json says.

    Attributes:
        shape: (C, H, W).
        mean, std: for each channel, what pixels in 0..1 are normalised with.
        splits: train, val (maybe empty) and test.
    """

    name: str
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    shape: tuple[Side, Side, Side]
    mean: PerChannel
    std: PerChannel
    splits: dict[SplitName, SplitInfo]

    @property
    def digest(self) -> str:
        """Names the whole data set: SHA-256 over its splits and normalisation."""
        text = repr((self.classes, self.mean, self.std, [self.splits[s].digest for s in SPLITS]))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Split:
    """The images of one split.

    Attributes:
        images: uint8 (N, C, H, W), a memory map: pages are read when they are touched.
        labels: int64 (N,).
    """

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


def write_info(folder: str | Path, info: DatasetInfo) -> None:
    """Writes dataset.json, with a digest of itself."""
    content = info.model_dump(mode="json")
    write_json(Path(folder) / "dataset.json", {**content, "sha256": _digest_of_info(info)})


def load_info(folder: str | Path) -> DatasetInfo:
    """Reads dataset.json; raises a UserError where it is missing or damaged."""
    # JSON is YAML, and one reader means one kind of message
    path = Path(folder) / "dataset.json"
    tree = load_yaml(path)
    said = tree.pop("sha256", None) if isinstance(tree, dict) else None
    info = parse_section(DatasetInfo, tree, str(path))
    if said != _digest_of_info(info):
        raise _damaged(path)
    return info


def load_split(folder: str | Path, split: SplitName) -> Split:
    """Opens one split and checks that it is whole.

    Raises:
        UserError: a file is missing, or not the one that dataset.json describes.
    """
    info = load_info(folder)
    count = sum(info.splits[split].counts)
    images = _load(Path(folder) / split / "images.npy", (count, *info.shape), np.uint8)
    labels = _load(Path(folder) / split / "labels.npy", (count,), np.int64)
    if digest_of_split(images, labels) != info.splits[split].digest:
        raise _damaged(Path(folder) / split)
    return Split(images, labels)


def load_origins(folder: str | Path, split: SplitName) -> list[str]:
    """Where each image of a split came from, in order.

    Raises:
        UserError: the file is missing, or not the one that dataset.json describes.
    """
    path = Path(folder) / split / "origins.txt"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    if hashlib.sha256(content).hexdigest() != load_info(folder).splits[split].origins:
        raise _damaged(path)
    # names may hold any character but a line feed
    return content.decode().split("\n")[:-1]


def digest_of_split(images: np.ndarray, labels: np.ndarray) -> str:
    """SHA-256 of pixels and labels, read in pieces so that memory stays bounded."""
    digest = hashlib.sha256()
    for start in range(0, len(images), 16_384):
        digest.update(np.ascontiguousarray(images[start : start + 16_384]))
    digest.update(np.ascontiguousarray(labels))
    return digest.hexdigest()


def _digest_of_info(info: DatasetInfo) -> str:
    return digest_of(info.model_dump_json().encode())


def _load(path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> np.ndarray:
    try:
        # copy-on-write: torch takes no read-only arrays; nothing is ever written
        array = np.load(path, mmap_mode="c" if shape[0] else None, allow_pickle=False)
    except DAMAGE as error:
        raise _unreadable(path, error) from error
    if array.shape != shape or array.dtype != dtype:
        raise UserError(
            f"{path} holds {array.dtype} {array.shape}, but dataset.json says "
            f"{np.dtype(dtype)} {shape}: run `dvc repro` to prepare it again"
        )
    return array.view(np.ndarray)


def _unreadable(path: Path, error: BaseException) -> UserError:
    return UserError(f"{path} can't be read ({error}): run `dvc repro` to prepare it again")


def _damaged(path: Path) -> UserError:
    return UserError(f"{path} is damaged: delete it and run `dvc repro` to prepare it again")
