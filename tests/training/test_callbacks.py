"""Callbacks: the history file during training, progress in a log."""

import math
import re
from pathlib import Path

import pytest
from project import tiny_params

from reprovision.data.dataset import load_info, load_split
from reprovision.results.history import Epoch, has_stalled, read_history, write_history
from reprovision.training import loop
from reprovision.training.callbacks import Callback, HistoryWriter, Progress
from reprovision.training.state import TrainingState


def run(prepared: Path, *callbacks: Callback) -> None:
    params = tiny_params()
    state = loop.start(params, load_info(prepared))
    splits = load_split(prepared, "train"), load_split(prepared, "val")
    loop.train(state, *splits, params, callbacks)


def test_the_history_file_is_complete_after_each_epoch(prepared: Path, tmp_path: Path) -> None:
    path = tmp_path / "results" / "history.csv"
    lengths: list[int] = []

    class Reader(Callback):
        def on_epoch_end(self, state: TrainingState) -> None:
            assert read_history(path) == state.history
            lengths.append(len(state.history))

    run(prepared, HistoryWriter(path), Reader())
    assert lengths == [1, 2]


def test_a_history_file_keeps_every_digit(tmp_path: Path) -> None:
    history = [Epoch(1, 1 / 3, 0.1, None, None, 1e-3), Epoch(2, math.pi, 0.2, 0.3, 2 / 3, 1e-17)]
    write_history(tmp_path / "history.csv", history)
    assert read_history(tmp_path / "history.csv") == history


def test_patience_counts_the_epochs_since_the_one_that_would_be_kept() -> None:
    def epochs(*accuracies: float) -> list[Epoch]:
        return [Epoch(i + 1, 1.0, 0.5, 1.0, a, 0.1) for i, a in enumerate(accuracies)]

    assert not has_stalled([], 1)
    assert not has_stalled(epochs(0.5, 0.6, 0.6), 2)
    assert has_stalled(epochs(0.5, 0.6, 0.6, 0.5), 2)
    # of equal accuracies the lower loss is better
    better = Epoch(4, 1.0, 0.5, 0.9, 0.6, 0.1)
    assert not has_stalled([*epochs(0.5, 0.6, 0.6), better], 2)
    assert not has_stalled(epochs(0.9, 0.1, 0.1, 0.1), None)
    # counted from the third epoch on
    assert not has_stalled(epochs(0.9, 0.1, 0.1, 0.1), 2, since=3)
    assert has_stalled(epochs(0.9, 0.1, 0.1, 0.1, 0.1), 2, since=3)


def test_without_a_terminal_a_table_of_epochs_is_printed(
    prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(prepared, Progress(2, 0, 270))
    header, *rows = capsys.readouterr().out.splitlines()
    columns = ["train loss", "accuracy", "val loss", "val accuracy", "images/s", "left"]
    assert re.split(r"  +", header.strip()) == columns
    assert [row[:9] for row in rows] == ["epoch 1/2", "epoch 2/2"]
    assert {len(line) for line in (header, *rows)} == {len(header)}
    assert len(header) <= 80
