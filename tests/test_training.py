"""The training loop: optimisers, schedules, what is kept, and going on after an interruption."""

import copy
import math
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from project import ROOT, tiny_params
from torch import nn
from torch.nn import functional

from reprovision.core.errors import UserError
from reprovision.core.params import Params, TrainParams
from reprovision.data.batches import Batches, seed_for
from reprovision.data.dataset import Split, load_info, load_split
from reprovision.models.checkpoint import save_checkpoint
from reprovision.models.inference import score
from reprovision.training import loop
from reprovision.training.choices import build_loss, build_optimizers, schedule
from reprovision.training.hardware import set_threads
from reprovision.training.history import Epoch, read_history, write_history
from reprovision.training.loop import TrainingState, Watcher
from reprovision.training.muon import NEWTON_SCHULZ_STEPS, Muon
from reprovision.training.progress import Progress
from reprovision.training.resuming import ResumeFolder

EVERYTHING = {
    "train.epochs": 4,
    "train.ema": 0.9,
    "model.dropout": 0.3,
    "model.conv.channels": [4, 6],
    "model.conv.batch_norm": True,
    "train.augment.shift": 0.1,
    "train.augment.rotate": 10.0,
    "train.momentum": 0.8,
    "train.lr": 0.005,
}
"""All that has a random or a running state, at once."""

OPTIMIZERS = ["sgd", "adam", "adamw", "rmsprop", "muon"]
HARDWARE = {"device": "cpu"}


class InterruptionError(Exception):
    """What a test kills a training with."""


class Interrupt(Watcher):
    def __init__(self, epoch: int, batches: int = 0) -> None:
        self.epoch = epoch
        self.batches = batches

    def batch_done(self, epoch: int, totals: loop.Totals) -> None:
        if epoch == self.epoch + 1:
            self.batches -= 1
            if self.batches < 0:
                raise InterruptionError


def trained(prepared: Path, params: Params, watchers: list[Watcher] | None = None) -> TrainingState:
    state = loop.start(params, load_info(prepared))
    splits = load_split(prepared, "train"), load_split(prepared, "val")
    loop.train(state, *splits, params, watchers or [])
    return state


def content(
    state: TrainingState, params: Params, prepared: Path, folder: Path
) -> tuple[bytes, bytes]:
    """The bytes of checkpoint and history."""
    save_checkpoint(folder / "c", state.shipped, params.model, load_info(prepared))
    write_history(folder / "h", state.history)
    return (folder / "c").read_bytes(), (folder / "h").read_bytes()


# ---- the same bytes


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("epoch", [1, 3])
def test_an_interrupted_run_goes_on_to_the_bytes_of_an_uninterrupted_one(
    prepared: Path, tmp_path: Path, optimizer: str, epoch: int
) -> None:
    params = tiny_params(**EVERYTHING, **{"train.optimizer": optimizer})
    whole = content(trained(prepared, params), params, prepared, tmp_path)

    resume = ResumeFolder(tmp_path / "resume", "key", HARDWARE)
    with pytest.raises(InterruptionError):
        trained(prepared, params, [resume, Interrupt(epoch, batches=3)])
    state = loop.start(params, load_info(prepared))
    assert resume.restore(state)
    assert len(state.history) == epoch
    loop.train(state, load_split(prepared, "train"), load_split(prepared, "val"), params, [resume])
    assert content(state, params, prepared, tmp_path) == whole


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_params_give_the_same_bytes_twice(
    prepared: Path, tmp_path: Path, precision: str
) -> None:
    params = tiny_params(**EVERYTHING, **{"train.precision": precision})
    first, second = (
        content(trained(prepared, params), params, prepared, tmp_path) for _ in range(2)
    )
    assert first == second


def test_watching_changes_nothing(prepared: Path, tmp_path: Path) -> None:
    params = tiny_params()
    alone = content(trained(prepared, params), params, prepared, tmp_path)
    watchers = [ResumeFolder(tmp_path / "r", "key", HARDWARE), Progress(2, 0, 270)]
    assert content(trained(prepared, params, watchers), params, prepared, tmp_path) == alone


def test_another_seed_gives_other_weights(prepared: Path, tmp_path: Path) -> None:
    one, two = tiny_params(), tiny_params(seed=1)
    assert content(trained(prepared, one), one, prepared, tmp_path) != content(
        trained(prepared, two), two, prepared, tmp_path
    )


# ---- the loop


def test_a_step_is_the_one_of_the_textbook(prepared: Path) -> None:
    params = tiny_params(
        **{
            "train.optimizer": "sgd",
            "train.momentum": 0.0,
            "train.weight_decay": 0.0,
            "train.schedule": "constant",
            "train.warmup": 0.0,
            "train.lr": 0.1,
            "train.epochs": 1,
            "train.batch_size": 300,
            "train.keep": "last",
        }
    )
    info, split = load_info(prepared), load_split(prepared, "train")
    start = loop.start(params, info)
    before = {name: value.clone() for name, value in start.classifier.named_parameters()}
    order = next(Batches(split, 300, torch.device("cpu")).epoch(seed_for(0, 0, "order")))
    loss = functional.cross_entropy(start.classifier(order[0]), order[1])
    gradients = torch.autograd.grad(loss, list(start.classifier.parameters()))

    state = trained(prepared, params)
    after = dict(state.classifier.named_parameters())
    for (name, weight), gradient in zip(before.items(), gradients, strict=True):
        assert torch.allclose(after[name], weight - 0.1 * gradient, atol=1e-6)
    assert state.history[0].train_loss == pytest.approx(loss.item(), rel=1e-6)


def test_the_history_has_every_epoch_with_its_validation(prepared: Path) -> None:
    state = trained(prepared, tiny_params(**{"train.epochs": 3}))
    assert [epoch.epoch for epoch in state.history] == [1, 2, 3]
    assert state.history[-1].train_loss < state.history[0].train_loss
    assert all(0 <= (epoch.val_accuracy or -1) <= 1 for epoch in state.history)


def test_the_best_epoch_is_kept_and_the_last_one_where_asked(prepared: Path) -> None:
    # a learning rate this high soon unlearns
    changes = {
        "train.epochs": 8,
        "train.lr": 0.3,
        "train.schedule": "constant",
        "train.warmup": 0.0,
    }
    for keep in ("best", "last"):
        params = tiny_params(**changes, **{"train.keep": keep})
        state = trained(prepared, params)
        accuracies = [epoch.val_accuracy for epoch in state.history]
        kept = score(state.shipped, load_split(prepared, "val"), 100).accuracy
        assert kept == (
            max(a for a in accuracies if a is not None) if keep == "best" else accuracies[-1]
        )


def test_without_validation_images_the_history_says_nothing_of_them(prepared: Path) -> None:
    params = tiny_params(**{"data.val_fraction": 0, "train.keep": "last"})
    state = loop.start(params, load_info(prepared))
    val = load_split(prepared, "val")
    loop.train(state, load_split(prepared, "train"), Split(val.images[:0], val.labels[:0]), params)
    assert state.history[-1].val_loss is None
    assert state.history[-1].val_accuracy is None


def test_the_average_follows_the_weights(prepared: Path) -> None:
    state = trained(prepared, tiny_params(**{"train.ema": 0.9, "train.keep": "last"}))
    assert state.average is not None
    assert state.shipped is state.average
    pairs = zip(state.average.parameters(), state.classifier.parameters(), strict=True)
    assert any(not torch.equal(mine, theirs) for mine, theirs in pairs)


def test_a_small_network_learns_the_digits(prepared: Path) -> None:
    state = trained(prepared, tiny_params(**{"train.epochs": 8}))
    assert score(state.shipped, load_split(prepared, "test"), 100).accuracy > 0.85


def test_a_training_that_diverges_says_so_in_one_sentence(prepared: Path) -> None:
    params = tiny_params(**{"train.optimizer": "sgd", "train.lr": 1e30})
    with pytest.raises(UserError, match=r"train\.lr") as caught:
        trained(prepared, params)
    assert "epoch 1" in str(caught.value)


def test_a_device_that_is_not_there_is_refused(prepared: Path) -> None:
    if torch.backends.mps.is_available():
        pytest.skip("this machine has MPS")
    with pytest.raises(UserError, match=r"train\.device is mps, which this machine does not have"):
        loop.start(tiny_params(**{"train.device": "mps"}), load_info(prepared))


# ---- optimisers, schedules, losses


def torchs(params: TrainParams, model: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of torch.optim that a name in the params promises."""
    weights, lr, decay = list(model.parameters()), params.lr, params.weight_decay
    match params.optimizer:
        case "sgd":
            return torch.optim.SGD(
                weights, lr, params.momentum, 0, decay, params.nesterov, fused=True
            )
        case "adam":
            return torch.optim.Adam(weights, lr, params.betas, weight_decay=decay, fused=True)
        case "adamw":
            return torch.optim.AdamW(weights, lr, params.betas, weight_decay=decay, fused=True)
        case _:
            return torch.optim.RMSprop(weights, lr, momentum=params.momentum, weight_decay=decay)


@pytest.mark.parametrize("momentum", [0.0, 0.7])
@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "rmsprop"])
def test_weights_move_as_the_optimiser_of_that_name_in_torch_moves_them(
    name: str, momentum: float
) -> None:
    changes = {"optimizer": name, "momentum": momentum, "nesterov": momentum > 0}
    changes |= {"betas": [0.8, 0.9], "weight_decay": 0.03, "lr": 0.01}
    params = tiny_params(**{f"train.{key}": value for key, value in changes.items()}).train
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Conv2d(3, 8, 5), nn.Linear(30, 20)).to(
        memory_format=torch.channels_last
    )
    theirs = copy.deepcopy(ours)
    (optimizer,) = build_optimizers(params, ours)
    reference = torchs(params, theirs)
    for step in range(5):
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            mine.grad = torch.randn_like(mine)
            other.grad = mine.grad.clone()
        reference.param_groups[0]["lr"] = 0.01 * 0.9**step
        reference.step()
        optimizer.step(0.9**step)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, other)
        assert mine.grad is None


WITHOUT_COMPILER = """
import sys
from pathlib import Path

sys.path.insert(0, "tests")
from project import tiny_params
from test_training import EVERYTHING, OPTIMIZERS, trained

for optimizer in OPTIMIZERS:
    changes = EVERYTHING | {"train.optimizer": optimizer, "train.precision": "bf16"}
    trained(Path(sys.argv[1]), tiny_params(**changes))
print("torch._dynamo" in sys.modules)
"""


def test_no_training_imports_the_compiler_that_it_does_not_use(prepared: Path) -> None:
    # a second and 150 MiB, which many of torch's functions import in passing
    command = [sys.executable, "-c", WITHOUT_COMPILER, str(prepared)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


def test_more_threads_than_processors_are_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    before = torch.get_num_threads()
    set_threads(tiny_params(**{"train.threads": 1000}).train)
    assert "warning: train.threads is 1000, but there are" in capsys.readouterr().err
    assert torch.get_num_threads() == 1000
    torch.set_num_threads(before)


def test_torch_is_told_to_fail_rather_than_to_give_other_bytes(prepared: Path) -> None:
    torch.set_deterministic_debug_mode("default")
    loop.start(tiny_params(), load_info(prepared))
    assert torch.get_deterministic_debug_mode() == 2
    assert not torch.utils.deterministic.fill_uninitialized_memory
    loop.start(tiny_params(**{"train.compile": True}), load_info(prepared))
    assert sys.modules["torch._inductor"].config.deterministic


def test_muon_takes_the_inner_matrices_and_adamw_the_rest(prepared: Path) -> None:
    params = tiny_params(**{"train.optimizer": "muon", "train.muon_lr": 0.1})
    model = loop.start(params, load_info(prepared)).classifier
    muon, adamw = build_optimizers(params.train, model)
    assert [weight.numel() for weight in muon.weights] == [4 * 1 * 3 * 3, 32 * 64]
    assert muon.lr == 0.1
    taken = [*muon.weights, *adamw.weights]
    assert sorted(weight.data_ptr() for weight in taken) == sorted(
        weight.data_ptr() for weight in model.parameters()
    )


def test_a_batch_of_one_image_that_can_not_be_normalised_is_told(prepared: Path) -> None:
    changes = {"train.batch_size": 1, "model.conv.channels": [4, 4, 4], "model.conv.pool": 2}
    params = tiny_params(**changes, **{"model.conv.padding": "same", "model.conv.batch_norm": True})
    state = loop.start(params, load_info(prepared))
    with pytest.raises(UserError, match=r"batch of one image.*use another train\.batch_size"):
        loop.train(state, load_split(prepared, "train"), load_split(prepared, "val"), params)


@pytest.mark.parametrize("shape", [(48, 20), (20, 48)])
def test_muon_moves_matrices_as_torchs_does(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    start = torch.randn(shape)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    optimizers = (
        Muon([ours], 0.1, 0.8, torch.bfloat16),
        torch.optim.Muon([theirs], 0.1, weight_decay=0, momentum=0.8, ns_steps=NEWTON_SCHULZ_STEPS),
    )
    for _ in range(5):
        ours.grad = torch.randn(shape)
        theirs.grad = ours.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    assert torch.equal(ours, theirs)


def test_muon_moves_a_kernel_as_the_matrix_of_its_output_channels() -> None:
    torch.manual_seed(0)
    kernel = nn.Parameter(torch.randn(8, 3, 5, 5).to(memory_format=torch.channels_last))
    kernel.grad = torch.randn(8, 3, 5, 5).to(memory_format=torch.channels_last)
    matrix = nn.Parameter(kernel.detach().flatten(1).clone())
    matrix.grad = kernel.grad.flatten(1).clone()
    for weight in (kernel, matrix):
        Muon([weight], 0.1, 0.8, torch.float32).step()
    assert torch.allclose(kernel.flatten(1), matrix, atol=1e-6)


def factors(epochs: int = 4, steps: int = 10, **changes: Any) -> list[float]:
    given = {"epochs": epochs} | changes
    params = tiny_params(**{f"train.{key}": value for key, value in given.items()}).train
    return [schedule(params, step, steps) for step in range(epochs * steps)]


def test_a_constant_schedule_is_constant() -> None:
    assert factors(schedule="constant", warmup=0.0) == [1.0] * 40


def test_a_step_schedule_falls_every_so_many_epochs() -> None:
    got = factors(schedule="step", warmup=0.0, step_epochs=2, step_factor=0.5)
    assert got == [1.0] * 20 + [0.5] * 20


def test_cosine_falls_along_half_a_cosine_to_nearly_nothing() -> None:
    got = factors(schedule="cosine", warmup=0.0)
    assert got[0] == 1.0
    assert got[20] == pytest.approx(0.5)
    assert got[10] == pytest.approx((1 + math.cos(math.pi / 4)) / 2)
    assert 0 < got[-1] < 0.01


def test_one_cycle_rises_and_then_falls_along_lines() -> None:
    got = factors(schedule="one_cycle", warmup=0.25)
    rises = [b - a for a, b in pairwise(got[:10])]
    falls = [a - b for a, b in pairwise(got[11:])]
    assert rises == pytest.approx([rises[0]] * len(rises))
    assert falls == pytest.approx([falls[0]] * len(falls))
    assert max(got) == pytest.approx(1.0)
    assert 0 < got[0] < 0.1


def test_the_learning_rate_of_the_schedule_is_the_one_in_the_history(prepared: Path) -> None:
    params = tiny_params(
        **{"train.schedule": "step", "train.warmup": 0.0, "train.step_factor": 0.1}
    )
    history = trained(prepared, params).history
    assert [epoch.lr for epoch in history] == pytest.approx([0.02, 0.002])


def test_label_smoothing_and_the_double_softmax_are_what_they_are_called() -> None:
    logits, labels = torch.randn(5, 10), torch.arange(5)
    plain = build_loss(tiny_params().train)
    assert plain(logits, labels) == functional.cross_entropy(logits, labels)
    smooth = build_loss(tiny_params(**{"train.label_smoothing": 0.2}).train)
    target = functional.one_hot(labels, 10) * 0.8 + 0.02
    expected = -(target * logits.log_softmax(1)).sum(1).mean()
    assert smooth(logits, labels).item() == pytest.approx(expected.item(), rel=1e-5)
    double = build_loss(tiny_params(**{"train.loss": "softmax_cross_entropy"}).train)
    assert double(logits, labels) == functional.cross_entropy(logits.softmax(1), labels)


# ---- what training leaves


def test_a_history_survives_its_file_with_every_digit(tmp_path: Path) -> None:
    history = [Epoch(1, 1 / 3, 0.1, None, None, 1e-3), Epoch(2, math.pi, 0.2, 0.3, 2 / 3, 1e-17)]
    write_history(tmp_path / "history.csv", history)
    assert read_history(tmp_path / "history.csv") == history


def test_lines_tell_of_each_epoch_where_the_output_is_no_terminal(
    prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(prepared, tiny_params(), [Progress(2, 0, 270)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    for word in ("epoch 2/2", "train loss", "accuracy", "val loss", "images/s", "s left"):
        assert word in lines[1]
