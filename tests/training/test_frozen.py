"""A frozen backbone: only the head learns, from features; then, maybe, all layers."""

import copy
from pathlib import Path

import pytest
import torch
import torchvision
from project import ROOT, tiny_params

from reprovision.core.files import digest_of_file
from reprovision.core.params import Params
from reprovision.data.dataset import DatasetInfo, Split, load_info, load_split
from reprovision.models.checkpoint import load_checkpoint, save_checkpoint
from reprovision.models.inference import predict
from reprovision.results.history import has_stalled, kept_epoch, write_history
from reprovision.sources import open_source
from reprovision.sources.prepare import prepare
from reprovision.training import loop
from reprovision.training.callbacks import Callback
from reprovision.training.resume import ResumeFolder
from reprovision.training.state import TrainingState

COLOUR = {"data.channels": 3, "data.image_size": 32, "data.limit": 60}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parameters as if a network had been pretrained."""
    torch.manual_seed(5)
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(torchvision.models.resnet18().state_dict(), path)
    return path


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits as small colour images, prepared."""
    folder = tmp_path_factory.mktemp("images")
    prepare(open_source(ROOT / "data/digits.yaml", folder), tiny_params(**COLOUR).data, folder)
    return folder


def params(weights: Path, **changes: object) -> Params:
    given = {
        "model.name": "resnet18",
        "model.weights": str(weights),
        "model.weights_sha256": digest_of_file(weights),
        "train.freeze": "backbone",
        "train.epochs": 3,
        "train.lr": 0.01,
    }
    return tiny_params(**COLOUR, **(given | changes))


def parts(folder: Path) -> tuple[DatasetInfo, Split, Split]:
    return load_info(folder), load_split(folder, "train"), load_split(folder, "val")


def trained(folder: Path, given: Params) -> TrainingState:
    info, train, val = parts(folder)
    state = loop.start(given, info)
    loop.train(state, train, val, given)
    return state


def interrupted(images: Path, given: Params, root: Path, after: int) -> TrainingState:
    """Trained by a process that was killed after an epoch, and by another one that resumed."""

    class Interrupt(ResumeFolder):
        def on_epoch_end(self, state: TrainingState) -> None:
            super().on_epoch_end(state)
            if len(state.history) == after:
                raise KeyboardInterrupt

    folder, (info, train, val) = Interrupt(root, "key", {}), parts(images)
    with pytest.raises(KeyboardInterrupt):
        loop.train(loop.start(given, info), train, val, given, [folder])
    resumed = loop.start(given, info)
    assert folder.restore(resumed)
    loop.train(resumed, train, val, given)
    return resumed


def test_only_the_head_learns(images: Path, weights: Path) -> None:
    given = params(weights)
    before = copy.deepcopy(loop.start(given, load_info(images)).classifier.state_dict())
    state = trained(images, given)
    changed = {
        name
        for name, value in state.saved_model.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert changed == {"head.weight", "head.bias"}
    assert state.history[-1].train_loss < state.history[0].train_loss


def test_features_that_are_computed_once_train_as_well_as_images(
    images: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from_features = trained(images, params(weights))
    monkeypatch.setattr(loop, "is_augmented", lambda augment: True)
    from_images = trained(images, params(weights))
    for one, two in zip(from_features.history, from_images.history, strict=True):
        assert one.train_loss == pytest.approx(two.train_loss, rel=1e-4)
        assert one.val_loss == pytest.approx(two.val_loss, rel=1e-4)


def test_with_augmentation_the_network_sees_new_images_in_each_epoch(
    images: Path, weights: Path
) -> None:
    for change in ({"train.augment.crop": 0.3}, {"train.augment.cutmix": 1.0}):
        given, (info, train, val) = params(weights, **change), parts(images)
        seen: list[torch.Tensor] = []
        state = loop.start(given, info)
        state.classifier.register_forward_pre_hook(
            lambda module, args, seen=seen: seen.append(args[0]) if module.training else None
        )
        loop.train(state, train, val, given)
        epochs = torch.cat(seen).chunk(3)
        assert all(epoch.shape == train.images.shape for epoch in epochs)
        assert not torch.equal(*(epoch.sum((1, 2, 3)).sort()[0] for epoch in epochs[:2]))
        # the backbone is frozen all the same
        assert state.history[-1].train_loss < state.history[0].train_loss


def test_an_interrupted_training_ends_with_the_same_bytes(
    images: Path, weights: Path, tmp_path: Path
) -> None:
    given, info = params(weights), load_info(images)
    whole = trained(images, given)
    resumed = interrupted(images, given, tmp_path / "resume", after=2)
    for name, state in (("whole", whole), ("resumed", resumed)):
        save_checkpoint(tmp_path / name, state.saved_model, given.model, info)
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "resumed").read_bytes()


def test_a_checkpoint_needs_no_file_of_weights(images: Path, weights: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved.pth"
    moved.write_bytes(weights.read_bytes())
    given, (info, _, val) = params(moved), parts(images)
    state = trained(images, given)
    save_checkpoint(tmp_path / "checkpoint", state.saved_model, given.model, info)
    moved.unlink()
    loaded = load_checkpoint(tmp_path / "checkpoint").classifier
    pixels = torch.from_numpy(val.images)
    assert torch.equal(predict(loaded, pixels, 10), predict(state.saved_model, pixels, 10))


def test_without_freezing_all_parameters_learn(images: Path, weights: Path) -> None:
    given = params(weights, **{"train.freeze": "none", "train.backbone_lr": 0.1})
    before = copy.deepcopy(loop.start(given, load_info(images)).classifier.state_dict())
    after = trained(images, given).saved_model.state_dict()
    assert not any(
        torch.equal(after[name], before[name]) for name in after if name.endswith("weight")
    )


# ---- first the head, then all layers

FINE_TUNING = {"train.epochs": 4, "train.freeze_epochs": 2, "train.backbone_lr": 0.1}


class Snapshots(Callback):
    """The parameters and buffers after each epoch."""

    def __init__(self) -> None:
        self.of_epochs: list[dict[str, torch.Tensor]] = []

    def on_epoch_end(self, state: TrainingState) -> None:
        self.of_epochs.append(copy.deepcopy(state.classifier.state_dict()))


@pytest.mark.parametrize("flip", [False, True])
def test_all_layers_are_trained_after_the_frozen_epochs(
    images: Path, weights: Path, flip: bool
) -> None:
    # augmented images go through the frozen backbone, others were replaced by their features
    given = params(weights, **FINE_TUNING, **{"train.augment.flip": flip})
    info, train, val = parts(images)
    state, snapshots = loop.start(given, info), Snapshots()
    before = copy.deepcopy(state.classifier.state_dict())
    loop.train(state, train, val, given, [snapshots])
    _, probed, tuned, _ = snapshots.of_epochs
    learned = {name for name, _ in state.classifier.named_parameters()}
    # the statistics of batch normalization stay
    for name, value in before.items():
        assert torch.equal(probed[name], value) == (not name.startswith("head."))
        assert torch.equal(tuned[name], probed[name]) == (name not in learned)


def test_the_frozen_epochs_are_those_of_a_training_of_the_head_alone(
    images: Path, weights: Path
) -> None:
    probing = params(weights, **{"train.epochs": 2})
    assert trained(images, params(weights, **FINE_TUNING)).history[:2] == (
        trained(images, probing).history
    )


def test_each_phase_has_its_own_run_of_the_schedule(images: Path, weights: Path) -> None:
    changes = {"train.schedule": "step", "train.warmup": 0.0, "train.step_factor": 0.1}
    state = trained(images, params(weights, **FINE_TUNING, **changes))
    assert [epoch.lr for epoch in state.history] == pytest.approx([0.01, 0.001] * 2)
    network, head = state.optimizers[0].param_groups
    assert [network["lr"], head["lr"]] == pytest.approx([0.0001, 0.001])


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("epoch", [2, 3])
def test_fine_tuning_that_was_interrupted_ends_with_the_same_bytes(
    images: Path, weights: Path, tmp_path: Path, optimizer: str, epoch: int
) -> None:
    changes = {"train.optimizer": optimizer, "train.backbone_lr": 1.0, "train.ema": 0.9}
    given, info = params(weights, **(FINE_TUNING | changes)), load_info(images)
    resumed = interrupted(images, given, tmp_path / "resume", after=epoch)
    for name, state in (("whole", trained(images, given)), ("resumed", resumed)):
        save_checkpoint(tmp_path / name, state.saved_model, given.model, info)
        write_history(tmp_path / f"{name}.csv", state.history)
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "resumed").read_bytes()
    assert (tmp_path / "whole.csv").read_bytes() == (tmp_path / "resumed.csv").read_bytes()


def test_patience_does_not_end_a_training_before_all_layers_have_learned(
    images: Path, weights: Path
) -> None:
    # steps so large that not every epoch is better than all before it
    changes = {"train.epochs": 20, "train.freeze_epochs": 9, "train.lr": 0.3, "train.patience": 1}
    changes |= {"train.backbone_lr": 1e-3, "train.schedule": "constant", "train.warmup": 0.0}
    history = trained(images, params(weights, **changes)).history
    assert any(has_stalled(history[:epochs], 1) for epochs in range(1, 9))
    assert len(history) == max(kept_epoch(history, "best").epoch, 9) + 1 < 20
