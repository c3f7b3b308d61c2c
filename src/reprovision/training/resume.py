"""The state of an interrupted training run, from which the next one resumes.

It lies in `.resume/KEY/` of the main workspace, outside Git and DVC. The key is a digest of
everything that training depends on, so that no run resumes with other params, data or code. The
file is named after the torch version and what else decides bytes, so that no run resumes what was
computed in another way. It is replaced after each epoch, whole or not at all, and deleted when
training ends.
"""

import io
import shutil
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import torch

from reprovision.core.files import digest_of, newest_first, write_bytes
from reprovision.models.workers import SINGLE, Workers
from reprovision.training.callbacks import Callback
from reprovision.training.state import TrainingState

KEPT = 20
"""Number of states kept, this run's included: older ones, never resumed, are deleted."""

DIGEST = sha256().digest_size


class ResumeFolder(Callback):
    """Saves and restores the state of one training run; the file is a SHA-256 and `torch.save`.

    Args:
        root: the folder of all states.
        key: of this run.
        numerics: what decides its bytes; states that others decided are ignored.
    """

    def __init__(self, root: Path, key: str, numerics: Mapping[str, str]) -> None:
        self.root = root
        self.folder = root / key
        decisive = repr([torch.__version__, *sorted(numerics.items())])
        self.path = self.folder / f"{digest_of(decisive.encode())[:16]}.pt"

    def on_epoch_end(self, state: TrainingState) -> None:
        """Replaces the saved state by the current one."""
        file = io.BytesIO()
        torch.save(state.state_dict(), file)
        content = file.getvalue()
        # a process that trained the same may just have finished and deleted the folder
        with suppress(FileNotFoundError):
            write_bytes(self.path, sha256(content).digest() + content)
        others = [path for path in newest_first(self.root.iterdir()) if path != self.folder]
        for path in others[KEPT - 1 :]:
            shutil.rmtree(path, ignore_errors=True)

    def restore(self, state: TrainingState, workers: Workers = SINGLE) -> bool:
        """Loads the saved state into a new one; False if there is none, or it is damaged.

        Of several machines one may have saved more epochs than another: the furthest state wins.
        """
        content = self._read()
        if content:
            _load(state, content)
        epochs = workers.all(len(state.history))
        furthest = max(epochs)
        if furthest > min(epochs):
            content = workers.broadcast(content, epochs.index(furthest))
            _load(state, content)
        return furthest > 0

    def _read(self) -> bytes:
        """The saved state; empty if there is none, or it is damaged."""
        try:
            saved = self.path.read_bytes()
        except OSError:
            return b""
        digest, content = saved[:DIGEST], saved[DIGEST:]
        return content if sha256(content).digest() == digest else b""

    def delete(self) -> None:
        """Deletes the saved state."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _load(state: TrainingState, content: bytes) -> None:
    device = state.classifier.device
    state.load_state_dict(torch.load(io.BytesIO(content), map_location=device, weights_only=True))
