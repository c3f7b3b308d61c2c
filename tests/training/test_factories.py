"""Optimizers, schedules and losses do what their names promise."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from project import tiny_params
from torch import nn
from torch.nn import functional

from reprovision.models.classifier import Classifier, build_model
from reprovision.training.factories import build_loss, build_optimizers, schedule
from reprovision.training.muon import NEWTON_SCHULZ_STEPS, Muon

# ---- optimizers


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        ("sgd", torch.optim.SGD, {"momentum": 0.7, "nesterov": True}),
        ("adam", torch.optim.Adam, {"betas": (0.8, 0.9)}),
        ("adamw", torch.optim.AdamW, {"betas": (0.8, 0.9)}),
        ("rmsprop", torch.optim.RMSprop, {"momentum": 0.7}),
    ],
)
def test_an_optimizer_is_torchs_with_the_options_of_the_params(
    name: str, kind: type[torch.optim.Optimizer], options: dict[str, Any]
) -> None:
    changes = {"optimizer": name, "lr": 0.01, "weight_decay": 0.03} | options
    params = tiny_params(**{f"train.{key}": value for key, value in changes.items()})
    model = Classifier(nn.Linear(3, 2), [0.5], [0.5])
    (optimizer,) = build_optimizers(params, model)
    assert type(optimizer) is kind
    (group,) = optimizer.param_groups
    assert group["params"] == list(model.parameters())
    expected = {"lr": 0.01, "initial_lr": 0.01, "weight_decay": 0.03, **options}
    assert {key: group[key] for key in expected} == expected
    # RMSprop has no fused form
    assert group.get("fused", True)


def test_the_backbone_may_have_a_learning_rate_of_its_own() -> None:
    params = tiny_params(**{"model.name": "resnet18", "train.lr": 0.01, "train.backbone_lr": 0.1})
    model = Classifier(nn.Linear(3, 4), [0.5], [0.5], nn.Linear(4, 2))
    (optimizer,) = build_optimizers(params, model)
    network, head = optimizer.param_groups
    assert network["params"] == list(model.network.parameters())
    assert head["params"] == list(model.head.parameters())
    assert [network["initial_lr"], head["initial_lr"]] == pytest.approx([0.001, 0.01])


def test_what_is_frozen_is_not_optimized() -> None:
    model = Classifier(nn.Linear(3, 4), [0.5], [0.5], nn.Linear(4, 2))
    model.network.requires_grad_(False)
    (optimizer,) = build_optimizers(tiny_params(), model)
    (group,) = optimizer.param_groups
    assert group["params"] == list(model.head.parameters())


def test_muon_optimizes_the_inner_matrices_and_adamw_the_rest() -> None:
    params = tiny_params(**{"train.optimizer": "muon", "train.muon_lr": 0.1})
    model = build_model(params.model, (1, 8, 8), 10, [0.5], [0.5])
    muon, adamw = build_optimizers(params, model)
    (inner,), (rest,) = muon.param_groups, adamw.param_groups
    assert [weight.numel() for weight in inner["params"]] == [4 * 1 * 3 * 3, 32 * 64]
    assert (inner["initial_lr"], rest["initial_lr"]) == (0.1, 0.02)
    assert {id(p) for p in [*inner["params"], *rest["params"]]} == set(map(id, model.parameters()))


@pytest.mark.parametrize("shape", [(48, 20), (20, 48)])
def test_muon_updates_matrices_as_torchs_does(shape: tuple[int, int]) -> None:
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


def test_muon_updates_a_kernel_as_the_matrix_of_its_output_channels() -> None:
    torch.manual_seed(0)
    kernel = nn.Parameter(torch.randn(8, 3, 5, 5).to(memory_format=torch.channels_last))
    kernel.grad = torch.randn(8, 3, 5, 5).to(memory_format=torch.channels_last)
    matrix = nn.Parameter(kernel.detach().flatten(1).clone())
    matrix.grad = kernel.grad.flatten(1).clone()
    for weight in (kernel, matrix):
        Muon([weight], 0.1, 0.8, torch.float32).step()
    assert torch.allclose(kernel.flatten(1), matrix, atol=1e-6)


# ---- schedules


def factors(epochs: int = 4, steps: int = 10, **changes: Any) -> list[float]:
    given = {"epochs": epochs} | changes
    params = tiny_params(**{f"train.{key}": value for key, value in given.items()}).train
    return [schedule(params, step, steps, epochs) for step in range(epochs * steps)]


def test_a_constant_schedule_is_constant() -> None:
    assert factors(schedule="constant", warmup=0.0) == [1.0] * 40


def test_a_step_schedule_falls_every_so_many_epochs() -> None:
    got = factors(schedule="step", warmup=0.0, step_epochs=2, step_factor=0.5)
    assert got == [1.0] * 20 + [0.5] * 20


def test_cosine_falls_along_half_a_cosine_to_nearly_zero() -> None:
    got = factors(schedule="cosine", warmup=0.0)
    assert got[0] == 1.0
    assert got[20] == pytest.approx(0.5)
    assert got[10] == pytest.approx((1 + math.cos(math.pi / 4)) / 2)
    assert 0 < got[-1] < 0.01


def test_one_cycle_rises_and_falls_linearly() -> None:
    got = factors(schedule="one_cycle", warmup=0.25)
    rises = [b - a for a, b in pairwise(got[:10])]
    falls = [a - b for a, b in pairwise(got[11:])]
    assert rises == pytest.approx([rises[0]] * len(rises))
    assert falls == pytest.approx([falls[0]] * len(falls))
    assert max(got) == pytest.approx(1.0)
    assert 0 < got[0] < 0.1


# ---- losses


def test_label_smoothing_and_the_double_softmax_do_what_their_names_say() -> None:
    logits, labels = torch.randn(5, 10), torch.arange(5)
    plain = build_loss(tiny_params().train)
    assert plain(logits, labels) == functional.cross_entropy(logits, labels)
    smooth = build_loss(tiny_params(**{"train.label_smoothing": 0.2}).train)
    target = functional.one_hot(labels, 10) * 0.8 + 0.02
    expected = -(target * logits.log_softmax(1)).sum(1).mean()
    assert smooth(logits, labels).item() == pytest.approx(expected.item(), rel=1e-5)
    double = build_loss(tiny_params(**{"train.loss": "softmax_cross_entropy"}).train)
    assert double(logits, labels) == functional.cross_entropy(logits.softmax(1), labels)
