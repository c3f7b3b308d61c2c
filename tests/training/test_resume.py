"""Interrupted training resumes to the same bytes, and never from another run's state."""

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from project import Project, tiny_params

from reprovision.core.params import Params
from reprovision.data.dataset import DatasetInfo, Split, SplitInfo, digest_of_split
from reprovision.images.preprocessing import Preprocessing
from reprovision.models.checkpoint import save_checkpoint
from reprovision.results.fingerprint import training_key
from reprovision.training import loop
from reprovision.training.callbacks import Callback
from reprovision.training.resume import KEPT, ResumeFolder
from reprovision.training.running_metrics import RunningMetrics
from reprovision.training.state import TrainingState


class Interrupted(BaseException):
    """Stands for a kill."""


class Killer(Callback):
    """Ends training in the second step after an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_batch_end(self, epoch: int, metrics: RunningMetrics) -> None:
        if epoch > self.epoch and metrics.images > 20:
            raise Interrupted


def _split(count: int) -> Split:
    dice = np.random.default_rng(count)
    return Split(dice.integers(0, 256, (count, 1, 8, 8), np.uint8), dice.integers(0, 3, count))


TRAIN, VAL = _split(90), _split(30)


def _info() -> DatasetInfo:
    splits = {
        name: SplitInfo(
            counts=tuple(np.bincount(split.labels, minlength=3).tolist()),
            digest=digest_of_split(split.images, split.labels),
            origins="",
            in_train=0,
        )
        for name, split in (("train", TRAIN), ("val", VAL), ("test", VAL))
    }
    return DatasetInfo(
        name="tiny",
        classes=("a", "b", "c"),
        preprocessing=Preprocessing(8, 8, 1),
        mean=(0.5,),
        std=(0.3,),
        splits=splits,
    )


def _params(**changes: Any) -> Params:
    return tiny_params(**{"train.device": "cpu", "train.epochs": 4, **changes})


def _bytes(state: TrainingState, params: Params, path: Path) -> bytes:
    save_checkpoint(path, state.saved_model, params.model, _info())
    return path.read_bytes() + repr(state.history).encode()


EVERYTHING = {
    "train.ema": 0.9,
    "train.augment.shift": 0.1,
    "train.augment.rotate": 10.0,
    "train.augment.crop": 0.2,
    "train.augment.brightness": 0.2,
    "train.augment.erase": 0.2,
    "train.augment.mixup": 0.2,
    "train.augment.cutmix": 1.0,
    "train.momentum": 0.8,
    "train.lr": 0.005,
    "model.dropout": 0.3,
    "model.conv.channels": [4, 6],
    "model.conv.batch_norm": True,
}
"""Everything that has a random or a running state, at once."""


@pytest.mark.parametrize("epoch", [1, 3])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        *(
            {"train.optimizer": name, **EVERYTHING}
            for name in ("sgd", "adam", "adamw", "rmsprop", "muon")
        ),
        {"train.optimizer": "sgd", "train.nesterov": True},
        {
            "numerics": "native",
            "train.optimizer": "muon",
            "train.precision": "bf16",
            "model.conv.channels": [8, 16],
        },
        {"numerics": "native", "train.precision": "bf16", "model.conv.batch_norm": True},
        {"train.keep": "last", "data.val_fraction": 0.0},
        {"model.name": "mlp", "train.schedule": "one_cycle"},
        {
            "train.accumulate": 3,
            "train.clip_norm": 0.1,
            "train.balance": "sampler",
            "train.patience": 2,
            "model.conv.residual": True,
            **EVERYTHING,
        },
    ],
    ids=str,
)
def test_interrupted_training_ends_with_the_same_bytes(
    tmp_path: Path, changes: dict[str, Any], epoch: int
) -> None:
    params, path = _params(**changes), tmp_path / "checkpoint"
    uninterrupted = loop.start(params, _info())
    loop.train(uninterrupted, TRAIN, VAL, params)

    resume = ResumeFolder(tmp_path / "resume", "key", {})
    with pytest.raises(Interrupted):
        loop.train(loop.start(params, _info()), TRAIN, VAL, params, [resume, Killer(epoch)])
    state = loop.start(params, _info())
    assert resume.restore(state)
    assert len(state.history) == epoch
    loop.train(state, TRAIN, VAL, params, [resume])
    assert _bytes(state, params, path) == _bytes(uninterrupted, params, path)


def _leave_a_state(root: Path, key: str = "key", **numerics: str) -> TrainingState:
    params = _params(**{"train.epochs": 1, "train.ema": 0.9, "model.conv.channels": [4, 6]})
    state = loop.start(params, _info())
    loop.train(state, TRAIN, VAL, params, [ResumeFolder(root, key, numerics)])
    return state


def _fresh() -> TrainingState:
    return loop.start(_params(**{"train.ema": 0.9, "model.conv.channels": [4, 6]}), _info())


def test_a_restored_state_has_the_memory_layouts_of_the_interrupted_one(tmp_path: Path) -> None:
    left, restored = _leave_a_state(tmp_path), _fresh()
    assert ResumeFolder(tmp_path, "key", {}).restore(restored)
    assert _strides(restored) == _strides(left)
    assert any(not value.is_contiguous() for value in left.best.values())


def _strides(state: TrainingState) -> list[tuple[int, ...]]:
    kept = [v for values in state.optimizers[0].state.values() for v in values.values()]
    models = [*state.classifier.parameters(), *state.saved_model.parameters()]
    return [tensor.stride() for tensor in [*models, *state.best.values(), *kept]]


def test_a_state_that_was_computed_otherwise_is_ignored(tmp_path: Path) -> None:
    _leave_a_state(tmp_path, threads="1")
    fresh = _fresh()
    other = ResumeFolder(tmp_path, "key", {"threads": "2"})
    assert not other.restore(fresh)
    other.on_epoch_end(fresh)
    assert ResumeFolder(tmp_path, "key", {"threads": "1"}).restore(fresh)
    assert len(fresh.history) == 1


def test_a_damaged_state_is_ignored(tmp_path: Path) -> None:
    _leave_a_state(tmp_path)
    resume, state, dice = ResumeFolder(tmp_path, "key", {}), _fresh(), random.Random(0)
    whole = resume.path.read_bytes()
    for place in [0, len(whole) - 1, *(dice.randrange(len(whole)) for _ in range(20))]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << dice.randrange(8)
        resume.path.write_bytes(damaged)
        assert not resume.restore(state)
    for part in (whole[:-1], whole[:32], whole[:10], b""):
        resume.path.write_bytes(part)
        assert not resume.restore(state)
    assert state.history == []
    resume.path.write_bytes(whole)
    assert resume.restore(state)


def test_only_the_newest_states_are_kept(tmp_path: Path) -> None:
    for number in range(KEPT + 5):
        _leave_a_state(tmp_path, f"key-{number}")
    assert len(list(tmp_path.iterdir())) == KEPT
    assert (tmp_path / f"key-{KEPT + 4}").exists()


def test_the_current_state_is_kept_even_if_all_others_look_newer(tmp_path: Path) -> None:
    for number in range(KEPT + 5):
        (tmp_path / f"other-{number}").mkdir()
        os.utime(tmp_path / f"other-{number}", (time.time() + 3600,) * 2)
    _leave_a_state(tmp_path)
    assert len(list(tmp_path.iterdir())) == KEPT
    assert ResumeFolder(tmp_path, "key", {}).restore(_fresh())


def test_the_key_depends_on_params_data_and_code(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.root)
    params, info = _params(), _info()
    key = training_key(params, info)
    assert training_key(_params(), _info()) == key
    assert training_key(_params(**{"train.lr": 0.5}), info) != key
    assert training_key(_params(**{"model.hidden": [33]}), info) != key
    assert training_key(_params(seed=1), info) != key
    assert training_key(_params(**{"evaluate.bins": 9}), info) == key
    assert training_key(params, info.model_copy(update={"mean": (0.4,)})) != key
    code = project.root / "src/reprovision/training/loop.py"
    code.write_text(code.read_text("utf-8") + "\n# changed\n", encoding="utf-8")
    assert training_key(params, info) != key


@pytest.fixture(autouse=True)
def _same_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
