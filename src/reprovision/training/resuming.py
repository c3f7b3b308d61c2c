"""What an interrupted training run leaves behind, and how the next one goes on from it.

The state lies in `.resume/KEY/` of the main workspace, outside Git and DVC. The key is a digest of
everything that training depends on, so that no run goes on from another params', data's or code's
state; and the file is named after what it runs on, so that none goes on from what another kind of
processor or another torch has computed. It is replaced after each epoch, whole or not at all, and
deleted when training ends.
"""

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from reprovision.core.files import digest_of, newest_first, write_bytes
from reprovision.models.checkpoint import digest_of_tensors
from reprovision.training.history import Epoch
from reprovision.training.loop import TrainingState, Watcher

KEPT = 20
"""States of runs that were never taken up again; the oldest go first."""


class ResumeFolder(Watcher):
    """Keeps the state of one training run.

    Args:
        root: the folder of all such states.
        key: of this run.
        hardware: what it runs on, e.g. device and threads; a state from elsewhere isn't taken up.
    """

    def __init__(self, root: Path, key: str, hardware: Mapping[str, str]) -> None:
        self.root = root
        self.folder = root / key
        instructions = torch.backends.cpu.get_cpu_capability()
        surroundings = repr([torch.__version__, instructions, *sorted(hardware.items())])
        self.path = self.folder / f"{digest_of(surroundings.encode())[:16]}.safetensors"

    def epoch_done(self, state: TrainingState) -> None:
        """Replaces what was kept by the present state."""
        tensors = {
            name: value.cpu().clone().contiguous() for name, value in _tensors(state).items()
        }
        history = json.dumps([asdict(epoch) for epoch in state.history])
        content = {
            "history": history,
            "digest": digest_of_tensors(tensors, history),
        }
        # another process that trained the same may just have ended and deleted the folder
        with suppress(FileNotFoundError):
            write_bytes(self.path, save(tensors, {"state": json.dumps(content)}))
        for old in newest_first(self.root.iterdir())[KEPT:]:
            shutil.rmtree(old, ignore_errors=True)

    def restore(self, state: TrainingState) -> bool:
        """Fills a fresh state with what was kept; False where nothing whole is there."""
        try:
            with safe_open(str(self.path), framework="pt") as file:
                content = json.loads((file.metadata() or {})["state"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if content["digest"] != digest_of_tensors(tensors, content["history"]):
                return False
        except (SafetensorError, OSError, KeyError, TypeError, ValueError):
            return False
        _fill(state, tensors)
        state.history = [Epoch(**epoch) for epoch in json.loads(content["history"])]
        return True

    def delete(self) -> None:
        """Forgets the state."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _tensors(state: TrainingState) -> dict[str, Tensor]:
    """All tensors of a state under one flat set of names."""
    groups = {"model": state.classifier.state_dict(), "best": state.best}
    if state.average:
        groups["average"] = state.average.state_dict()
    for number, optimizer in enumerate(state.optimizers):
        for name, values in optimizer.memory.items():
            kept = {str(index): value for index, value in enumerate(values)}
            groups[f"optimizer/{number}/{name}"] = kept
    return {f"{group}/{name}": v for group, values in groups.items() for name, v in values.items()}


def _fill(state: TrainingState, tensors: dict[str, Tensor]) -> None:
    groups: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        group, _, key = name.rpartition("/")
        groups.setdefault(group, {})[key] = value
    state.classifier.load_state_dict(groups["model"])
    if state.average:
        state.average.load_state_dict(groups["average"])
    for number, optimizer in enumerate(state.optimizers):
        for name, values in optimizer.memory.items():
            kept = groups[f"optimizer/{number}/{name}"]
            # copied, so that they keep the memory layout of their weights
            for index, value in enumerate(values):
                value.copy_(kept[str(index)])
    state.best = groups["best"]
