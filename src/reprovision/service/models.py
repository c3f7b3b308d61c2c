"""The model that the service answers with, and a newer one that takes its place."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from reprovision.serving.predictor import Predictor, model_file


@dataclass(frozen=True)
class Loaded:
    """A model in memory.

    Attributes:
        name: for people: a file, or a registered model.
        version: differs from that of any other content under this name.
    """

    name: str
    version: str
    predictor: Predictor


class Models(Protocol):
    """Where the service finds its model."""

    def latest(self) -> str:
        """The version to use now, found without loading it.

        Raises:
            UserError: there is none, or it can't be asked for.
        """
        ...

    def load(self, version: str) -> Loaded:
        """Loads a version.

        Raises:
            UserError: it can't be loaded.
        """
        ...


@dataclass(frozen=True)
class FileModels:
    """An exported model's file or folder; the time of writing and the size are its version."""

    path: Path

    def latest(self) -> str:
        found = model_file(self.path).stat()
        return f"{found.st_mtime_ns}-{found.st_size}"

    def load(self, version: str) -> Loaded:
        return Loaded(str(self.path), version, Predictor(self.path))
