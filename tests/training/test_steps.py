"""Steps of the optimizer: over several batches, with clipped gradients, for balanced classes."""

from typing import Any

import numpy as np
import pytest
import torch
from project import tiny_params
from sklearn.utils.class_weight import compute_sample_weight
from torch.nn import functional

from reprovision.core.params import Params
from reprovision.data.batches import Batches, balanced_weights
from reprovision.data.dataset import DatasetInfo, Split, SplitInfo
from reprovision.images.preprocessing import Preprocessing
from reprovision.training import loop
from reprovision.training.factories import build_loss
from reprovision.training.state import TrainingState


def split(count: int, classes: int = 3) -> Split:
    """Noise, of classes that are the rarer the higher their label, without any of the last."""
    dice = np.random.default_rng(count)
    labels = (dice.random(count) ** 2 * (classes - 1)).astype(np.int64)
    return Split(dice.integers(0, 256, (count, 1, 8, 8), np.uint8), labels)


# ten steps of 7 images with 5 in the last: neither batches nor groups of them are whole
TRAIN, VAL = split(68), split(30)

INFO = DatasetInfo(
    name="noise",
    classes=("a", "b", "c"),
    preprocessing=Preprocessing(8, 8, 1),
    mean=(0.5,),
    std=(0.3,),
    splits={
        name: SplitInfo(counts=(1, 1, 1), digest="", origins="", in_train=0)
        for name in ("train", "val", "test")
    },
)


def params(**changes: Any) -> Params:
    plain = {"train.optimizer": "sgd", "train.momentum": 0.0, "train.lr": 0.1, "train.keep": "last"}
    return tiny_params(**(plain | {f"train.{key}": value for key, value in changes.items()}))


def trained(given: Params) -> TrainingState:
    state = loop.start(given, INFO)
    loop.train(state, TRAIN, VAL, given)
    return state


def parameters(state: TrainingState) -> torch.Tensor:
    return torch.nn.utils.parameters_to_vector(state.classifier.parameters()).detach()


# ---- several batches per step


@pytest.mark.parametrize("changes", [{}, {"optimizer": "adamw", "ema": 0.9, "balance": "loss"}])
def test_accumulated_batches_give_the_steps_of_one_large_batch(changes: dict[str, Any]) -> None:
    accumulated = trained(params(batch_size=7, accumulate=4, **changes))
    large = trained(params(batch_size=28, **changes))
    assert torch.allclose(parameters(accumulated), parameters(large), atol=1e-5)
    saved = [[*state.saved_model.parameters()] for state in (accumulated, large)]
    assert all(torch.allclose(*pair, atol=1e-5) for pair in zip(*saved, strict=True))
    for one, other in zip(accumulated.history, large.history, strict=True):
        assert one.lr == other.lr, "the schedule counts steps, not batches"
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-5)


def test_the_last_step_of_an_epoch_has_the_batches_that_are_left() -> None:
    batches = Batches(TRAIN, 7, torch.device("cpu"))
    assert (len(batches), batches.steps(4), batches.steps(1)) == (10, 3, 10)
    assert [batches.step_size(batch, 4) for batch in range(10)] == [28] * 8 + [12] * 2


# ---- clipping


def test_gradients_are_clipped_to_the_norm_over_all_parameters() -> None:
    once = {"batch_size": 68, "epochs": 1, "schedule": "constant", "warmup": 0.0}
    once |= {"weight_decay": 0.0}
    before = parameters(loop.start(params(), INFO))
    # over the sum of a step's batches, not over each
    for batches in ({}, {"batch_size": 34, "accumulate": 2}):
        step = parameters(trained(params(**(once | batches), clip_norm=1e-3))) - before
        assert step.norm().item() == pytest.approx(0.1 * 1e-3, rel=1e-3)
    assert torch.equal(
        parameters(trained(params(**once, clip_norm=1e6))), parameters(trained(params(**once)))
    ), "a small gradient stays as it is"


# ---- balanced classes


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    weights = balanced_weights(TRAIN.labels)
    of_images = weights[torch.from_numpy(TRAIN.labels)].numpy()
    assert of_images == pytest.approx(compute_sample_weight("balanced", TRAIN.labels))
    assert of_images.mean() == pytest.approx(1)
    assert weights[:2].tolist() != [1, 1]


def test_a_class_without_images_has_no_weight() -> None:
    assert balanced_weights(np.array([3, 1, 1, 1])).tolist() == pytest.approx([0, 2 / 3, 0, 2])


def test_the_loss_of_an_image_is_weighted_by_its_class() -> None:
    logits, labels = torch.randn(4, 3), torch.tensor([0, 1, 1, 1])
    given = params(label_smoothing=0.1).train
    plain = functional.cross_entropy(logits, labels, reduction="none", label_smoothing=0.1)
    expected = (plain * torch.tensor([2, 2 / 3, 2 / 3, 2 / 3])).mean()
    found = build_loss(given, balanced_weights(labels.numpy()))(logits, labels)
    assert found.item() == pytest.approx(expected.item())


def test_the_weighted_loss_is_what_is_trained_and_logged() -> None:
    once = {"batch_size": 68, "epochs": 1}
    plain, weighted = (trained(params(**once, balance=b)) for b in ("none", "loss"))
    given = params(**once)
    model = loop.start(given, INFO).classifier
    images, labels = torch.from_numpy(TRAIN.images), torch.from_numpy(TRAIN.labels)
    expected = build_loss(given.train, balanced_weights(TRAIN.labels))(model(images), labels)
    assert weighted.history[0].train_loss == pytest.approx(expected.item(), rel=1e-5)
    assert not torch.allclose(parameters(plain), parameters(weighted), atol=1e-4)


def drawn(batches: Batches, seed: int) -> np.ndarray:
    return np.concatenate([labels.numpy() for _, labels in batches.epoch(seed)])


def test_the_sampler_draws_all_classes_equally_often_from_as_many_images() -> None:
    many = split(5000, classes=5)
    counts = np.bincount(many.labels, minlength=5)
    assert counts.max() > 1.5 * counts[:4].min()
    weights = balanced_weights(many.labels)
    batches = Batches(many, 64, torch.device("cpu"), weights)
    labels = drawn(batches, 1)
    assert len(labels) == 5000
    # three standard deviations of a binomial distribution
    assert np.bincount(labels) == pytest.approx([1250] * 4, abs=3 * (1250 * 0.75) ** 0.5)
    assert (drawn(batches, 1) == labels).all()
    assert (drawn(batches, 2) != labels).any()


def test_a_training_with_the_sampler_gives_the_same_twice() -> None:
    first, second = (trained(params(balance="sampler")) for _ in range(2))
    assert torch.equal(parameters(first), parameters(second))
    assert first.history != trained(params()).history
