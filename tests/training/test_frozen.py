"""A frozen backbone: only the head learns, from features that are computed once."""

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
from reprovision.sources import open_source
from reprovision.sources.prepare import prepare
from reprovision.training import loop
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
    given, (info, train, val) = params(weights), parts(images)
    whole = trained(images, given)

    class Interrupt(ResumeFolder):
        def on_epoch_end(self, state: TrainingState) -> None:
            super().on_epoch_end(state)
            if len(state.history) == 2:
                raise KeyboardInterrupt

    folder = Interrupt(tmp_path / "resume", "key", {})
    with pytest.raises(KeyboardInterrupt):
        loop.train(loop.start(given, info), train, val, given, [folder])
    resumed = loop.start(given, info)
    assert folder.restore(resumed)
    loop.train(resumed, train, val, given)
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
