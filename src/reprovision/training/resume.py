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

    def restore(self, state: TrainingState) -> bool:
        """Loads the saved state into a new one; False if there is none, or it is damaged."""
        try:
            content = self.path.read_bytes()
        except OSError:
            return False
        digest, content = content[:DIGEST], content[DIGEST:]
        if sha256(content).digest() != digest:
            return False
        device = state.classifier.device
        loaded = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
        state.load_state_dict(loaded)
        return True

    def delete(self) -> None:
        """Deletes the saved state."""
        shutil.rmtree(self.folder, ignore_errors=True)
