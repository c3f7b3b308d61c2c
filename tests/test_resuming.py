"""An interrupted training goes on as if nothing had happened, and never from another's state."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from project import TINY, Project

from reprovision.core.params import Params, load_params
from reprovision.data.dataset import DatasetInfo, Split, SplitInfo, digest_of_split
from reprovision.models.checkpoint import save_checkpoint
from reprovision.training import loop
from reprovision.training.identity import training_key
from reprovision.training.resuming import KEPT, ResumeFolder

ROOT = Path(__file__).resolve().parent.parent


class Interrupted(BaseException):
    """Stands for a kill: it ends training after an epoch."""


class Killer(loop.Watcher):
    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def epoch_done(self, state: loop.TrainingState) -> None:
        if len(state.history) == self.epoch:
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
        )
        for name, split in (("train", TRAIN), ("val", VAL), ("test", VAL))
    }
    return DatasetInfo(
        name="tiny",
        classes=("a", "b", "c"),
        shape=(1, 8, 8),
        mean=(0.5,),
        std=(0.3,),
        splits=splits,
    )


def _params(**changes: Any) -> Params:
    tree = load_params(ROOT / "params.yaml").model_dump(mode="json")
    for key, value in {**TINY, "train.device": "cpu", "train.epochs": 4, **changes}.items():
        *sections, last = key.split(".")
        section = tree
        for name in sections:
            section = section[name]
        section[last] = value
    return Params.model_validate(tree)


def _bytes(state: loop.TrainingState, params: Params, path: Path) -> bytes:
    save_checkpoint(path, state.shipped, params.model, _info())
    return path.read_bytes() + repr(state.history).encode()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"train.optimizer": "sgd", "train.nesterov": True},
        {"train.optimizer": "adam", "model.conv.batch_norm": True},
        {"train.optimizer": "rmsprop"},
        {"train.optimizer": "muon"},
        {"train.ema": 0.9, "model.conv.batch_norm": True},
        {"train.keep": "last", "data.val_fraction": 0.0},
        {"model.dropout": 0.5, "train.augment.rotate": 20.0, "train.augment.shift": 0.1},
        {"model.name": "mlp", "train.schedule": "one_cycle"},
        {"train.precision": "bf16", "model.conv.channels": [8, 16]},
    ],
    ids=str,
)
def test_an_interrupted_training_ends_with_the_same_bytes(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    params, path = _params(**changes), tmp_path / "checkpoint"
    undisturbed = loop.start(params, _info())
    loop.train(undisturbed, TRAIN, VAL, params)

    for epoch in (1, 3):
        state = loop.start(params, _info())
        resume = ResumeFolder(tmp_path / "resume", "key", {})
        assert resume.restore(state) == (epoch == 3)
        with pytest.raises(Interrupted):
            loop.train(state, TRAIN, VAL, params, [resume, Killer(epoch)])
    state = loop.start(params, _info())
    assert resume.restore(state)
    assert len(state.history) == 3
    loop.train(state, TRAIN, VAL, params)
    assert _bytes(state, params, path) == _bytes(undisturbed, params, path)


def _leave_a_state(root: Path, key: str = "key", **hardware: str) -> Params:
    params = _params(**{"train.epochs": 1})
    loop.train(loop.start(params, _info()), TRAIN, VAL, params, [ResumeFolder(root, key, hardware)])
    return params


def test_a_state_from_other_hardware_is_left_alone(tmp_path: Path) -> None:
    params = _leave_a_state(tmp_path, threads="1")
    fresh = loop.start(params, _info())
    other = ResumeFolder(tmp_path, "key", {"threads": "2"})
    assert not other.restore(fresh)
    other.epoch_done(fresh)
    assert ResumeFolder(tmp_path, "key", {"threads": "1"}).restore(fresh)
    assert len(fresh.history) == 1


def test_a_damaged_state_is_left_alone(tmp_path: Path) -> None:
    params = _leave_a_state(tmp_path)
    resume = ResumeFolder(tmp_path, "key", {})
    whole, dice = resume.path.read_bytes(), random.Random(0)
    # safetensors has its weights at the end
    for at in [len(whole) - 1, len(whole) // 2, *(dice.randrange(len(whole)) for _ in range(20))]:
        damaged = bytearray(whole)
        damaged[at] ^= 1 << dice.randrange(8)
        resume.path.write_bytes(damaged)
        state = loop.start(params, _info())
        if resume.restore(state):
            # padding and the like
            assert _bytes(state, params, tmp_path / "a") == _bytes(
                _restored(whole, tmp_path, params), params, tmp_path / "b"
            )
    resume.path.write_bytes(whole[:-1])
    assert not resume.restore(loop.start(params, _info()))


def _restored(content: bytes, folder: Path, params: Params) -> loop.TrainingState:
    resume = ResumeFolder(folder / "whole", "key", {})
    resume.path.parent.mkdir(parents=True, exist_ok=True)
    resume.path.write_bytes(content)
    state = loop.start(params, _info())
    assert resume.restore(state)
    return state


def test_states_that_nobody_takes_up_are_forgotten(tmp_path: Path) -> None:
    for number in range(KEPT + 5):
        _leave_a_state(tmp_path, f"key-{number}")
    assert len(list(tmp_path.iterdir())) == KEPT
    assert (tmp_path / f"key-{KEPT + 4}").exists()


def test_the_key_names_params_data_and_code(
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
def _same_threads() -> Any:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
