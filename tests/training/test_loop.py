"""The training loop: steps, history, which epoch is kept, the same bytes twice."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from project import tiny_params
from torch import Tensor, nn
from torch.nn import functional

from reprovision.core.errors import UserError
from reprovision.core.params import Params
from reprovision.data.batches import Batches, seed_for
from reprovision.data.dataset import Split, load_info, load_split
from reprovision.data.mixing import Mixing
from reprovision.models.checkpoint import save_checkpoint
from reprovision.models.inference import score
from reprovision.results.history import kept_epoch, write_history
from reprovision.training import loop
from reprovision.training.callbacks import Callback, HistoryWriter, Progress
from reprovision.training.resume import ResumeFolder
from reprovision.training.state import TrainingState

EVERYTHING = {
    "train.epochs": 4,
    "train.ema": 0.9,
    "model.dropout": 0.3,
    "model.conv.channels": [4, 6],
    "model.conv.batch_norm": True,
    "train.augment.shift": 0.1,
    "train.augment.rotate": 10.0,
    "train.augment.crop": 0.2,
    "train.augment.brightness": 0.2,
    "train.augment.erase": 0.2,
    "train.augment.mixup": 0.2,
    "train.augment.cutmix": 1.0,
    "train.momentum": 0.8,
    "train.lr": 0.005,
}
"""Everything that has a random or a running state, at once."""


def trained(prepared: Path, params: Params, callbacks: Sequence[Callback] = ()) -> TrainingState:
    state = loop.start(params, load_info(prepared))
    splits = load_split(prepared, "train"), load_split(prepared, "val")
    loop.train(state, *splits, params, callbacks)
    return state


def content(
    state: TrainingState, params: Params, prepared: Path, folder: Path
) -> tuple[bytes, bytes]:
    """The bytes of checkpoint and history."""
    save_checkpoint(folder / "c", state.saved_model, params.model, load_info(prepared))
    write_history(folder / "h", state.history)
    return (folder / "c").read_bytes(), (folder / "h").read_bytes()


# ---- the same bytes


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_params_give_the_same_bytes_twice(
    prepared: Path, tmp_path: Path, precision: str
) -> None:
    params = tiny_params(**EVERYTHING, numerics="native", **{"train.precision": precision})
    first, second = (
        content(trained(prepared, params), params, prepared, tmp_path) for _ in range(2)
    )
    assert first == second


def test_callbacks_change_nothing(prepared: Path, tmp_path: Path) -> None:
    params = tiny_params()
    without = content(trained(prepared, params), params, prepared, tmp_path)
    resume = ResumeFolder(tmp_path / "r", "key", {"device": "cpu"})
    callbacks = [resume, Progress(2, 0, 270), HistoryWriter(tmp_path / "history.csv")]
    assert content(trained(prepared, params, callbacks), params, prepared, tmp_path) == without


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
    pixels, labels = next(Batches(split, 300, torch.device("cpu")).epoch(seed_for(0, 0, "order")))
    logits = start.classifier(pixels)
    loss = functional.cross_entropy(logits, labels)
    gradients = torch.autograd.grad(loss, list(start.classifier.parameters()))

    state = trained(prepared, params)
    after = dict(state.classifier.named_parameters())
    for (name, weight), gradient in zip(before.items(), gradients, strict=True):
        assert torch.allclose(after[name], weight - 0.1 * gradient, atol=1e-6)
        assert after[name].grad is None
    assert state.history[0].train_loss == pytest.approx(loss.item(), rel=1e-6)
    accuracy = (logits.argmax(1) == labels).double().mean().item()
    assert state.history[0].train_accuracy == pytest.approx(accuracy)


def test_the_history_has_every_epoch_with_its_validation(prepared: Path) -> None:
    state = trained(prepared, tiny_params(**{"train.epochs": 3}))
    assert [epoch.epoch for epoch in state.history] == [1, 2, 3]
    assert state.history[-1].train_loss < state.history[0].train_loss
    assert all(0 <= (epoch.val_accuracy or -1) <= 1 for epoch in state.history)


def test_the_history_has_the_scheduled_learning_rate(prepared: Path) -> None:
    params = tiny_params(
        **{"train.schedule": "step", "train.warmup": 0.0, "train.step_factor": 0.1}
    )
    state = trained(prepared, params)
    assert [epoch.lr for epoch in state.history] == pytest.approx([0.02, 0.002])
    assert state.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.002)


def test_the_best_epoch_is_kept_or_the_last_one_if_asked(prepared: Path) -> None:
    # with such a learning rate accuracy soon falls again
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
        kept = score(state.saved_model, load_split(prepared, "val"), 100).accuracy
        assert kept == (
            max(a for a in accuracies if a is not None) if keep == "best" else accuracies[-1]
        )


def test_training_stops_after_so_many_epochs_without_a_better_one(prepared: Path) -> None:
    changes = {"train.epochs": 30, "train.lr": 0.3, "train.schedule": "constant"}
    params = tiny_params(**changes, **{"train.patience": 3, "train.warmup": 0.0})
    state = trained(prepared, params)
    best = kept_epoch(state.history, "best")
    assert len(state.history) == best.epoch + 3 < 30
    kept = score(state.saved_model, load_split(prepared, "val"), 100)
    assert (kept.accuracy, kept.loss) == (best.val_accuracy, best.val_loss)


def test_a_stopped_training_is_over_for_its_callbacks_and_when_it_is_resumed(
    prepared: Path, tmp_path: Path
) -> None:
    changes = {"train.epochs": 30, "train.lr": 0.3, "train.schedule": "constant"}
    params = tiny_params(**changes, **{"train.patience": 2, "train.warmup": 0.0})
    progress = Progress(30, 0, 270)
    resume = ResumeFolder(tmp_path, "key", {})
    ended: list[int] = []

    class End(Callback):
        def on_train_end(self, state: TrainingState) -> None:
            ended.append(len(state.history))

    state = trained(prepared, params, [progress, resume, End()])
    assert ended == [len(state.history)]
    resumed = loop.start(params, load_info(prepared))
    assert resume.restore(resumed)
    splits = load_split(prepared, "train"), load_split(prepared, "val")
    loop.train(resumed, *splits, params, [End()])
    assert resumed.history == state.history
    assert ended == [len(state.history)] * 2


@pytest.mark.parametrize("needing", [{"train.patience": 2, "train.keep": "last"}, {}])
def test_the_best_epoch_without_validation_images_is_refused(
    prepared: Path, needing: dict[str, Any]
) -> None:
    params = tiny_params(**needing)
    train, val = load_split(prepared, "train"), load_split(prepared, "val")
    with pytest.raises(UserError, match="have no validation images"):
        loop.train(
            loop.start(params, load_info(prepared)),
            train,
            Split(val.images[:0], val.labels[:0]),
            params,
        )


def test_without_validation_images_the_history_leaves_validation_empty(prepared: Path) -> None:
    params = tiny_params(**{"data.val_fraction": 0, "train.keep": "last"})
    state = loop.start(params, load_info(prepared))
    val = load_split(prepared, "val")
    loop.train(state, load_split(prepared, "train"), Split(val.images[:0], val.labels[:0]), params)
    assert state.history[-1].val_loss is None
    assert state.history[-1].val_accuracy is None


def test_with_ema_the_averaged_model_is_saved(prepared: Path) -> None:
    state = trained(prepared, tiny_params(**{"train.ema": 0.9, "train.keep": "last"}))
    assert state.ema is not None
    assert state.saved_model is state.ema.module
    pairs = zip(state.saved_model.parameters(), state.classifier.parameters(), strict=True)
    assert any(not torch.equal(average, value) for average, value in pairs)


def test_a_small_network_learns_the_digits(prepared: Path) -> None:
    state = trained(prepared, tiny_params(**{"train.epochs": 8}))
    assert score(state.saved_model, load_split(prepared, "test"), 100).accuracy > 0.85


def test_diverged_training_is_reported_in_one_sentence(prepared: Path) -> None:
    params = tiny_params(**{"train.optimizer": "sgd", "train.lr": 1e9})
    with pytest.raises(UserError, match=r"train\.lr") as caught:
        trained(prepared, params)
    assert "epoch 1" in str(caught.value)


def test_batch_normalization_of_a_single_image_is_reported(prepared: Path) -> None:
    changes = {"train.batch_size": 1, "model.conv.channels": [4, 4, 4], "model.conv.pool": 2}
    params = tiny_params(**changes, **{"model.conv.padding": "same", "model.conv.batch_norm": True})
    with pytest.raises(UserError, match=r"batch of one image.*use another train\.batch_size"):
        trained(prepared, params)


# ---- augmentation


def seen_in_training(prepared: Path, params: Params) -> list[torch.Tensor]:
    """The pixels that the network gets in training."""
    seen: list[torch.Tensor] = []
    state = loop.start(params, load_info(prepared))
    state.classifier.register_forward_pre_hook(
        lambda module, args: seen.append(args[0]) if module.training else None
    )
    loop.train(state, load_split(prepared, "train"), load_split(prepared, "val"), params)
    return seen


def test_images_are_augmented_in_full_precision_whatever_the_network_computes_in(
    prepared: Path,
) -> None:
    changes = {"numerics": "native", "train.epochs": 1, "train.augment.rotate": 30.0}
    full, half = (
        seen_in_training(prepared, tiny_params(**changes, **{"train.precision": precision}))
        for precision in ("fp32", "bf16")
    )
    assert all(torch.equal(a, b) for a, b in zip(full, half, strict=True))


def test_a_step_with_mixup_learns_both_labels(prepared: Path) -> None:
    # a batch of all images, whose first loss is that of the initial parameters
    params = tiny_params(**{"train.epochs": 1, "train.batch_size": 300, "train.augment.mixup": 1.0})
    start = loop.start(params, load_info(prepared)).classifier
    split = load_split(prepared, "train")
    pixels, labels = next(Batches(split, 300, torch.device("cpu")).epoch(seed_for(0, 0, "order")))
    mixed, targets = Mixing(params.train.augment, seed_for(0, 0, "mixing"))(pixels, labels)
    assert targets.others is not None and targets.shares is not None
    logits = start(mixed)
    first, second = (
        functional.cross_entropy(logits, of, reduction="none") for of in (labels, targets.others)
    )
    loss = (targets.shares * first + (1 - targets.shares) * second).mean().item()
    epoch = trained(prepared, params).history[0]
    assert epoch.train_loss == pytest.approx(loss, rel=1e-5)
    larger = torch.where(targets.shares >= 0.5, labels, targets.others)
    accuracy = (logits.argmax(1) == larger).double().mean().item()
    assert epoch.train_accuracy == pytest.approx(accuracy)


def test_colors_of_grayscale_images_are_refused_before_training(prepared: Path) -> None:
    with pytest.raises(UserError, match=r"train\.augment\.saturation and hue"):
        trained(prepared, tiny_params(**{"train.augment.hue": 0.1}))


class Unpooling(nn.Module):
    """A layer before a network, for which torch has no deterministic algorithm."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        pooled, indices = functional.max_pool2d(images, 2, return_indices=True)
        found: Tensor = self.network(functional.max_unpool2d(pooled, indices, 2))
        return found


def test_a_network_that_is_never_the_same_twice_is_refused(prepared: Path) -> None:
    params = tiny_params()
    state = loop.start(params, load_info(prepared))
    state.classifier.network = Unpooling(state.classifier.network)
    with pytest.raises(UserError, match="gives other results each time on this device"):
        loop.train(state, load_split(prepared, "train"), load_split(prepared, "val"), params)
