"""The moving average of a model."""

import pytest
import torch
from torch import nn

from reprovision.training.ema import EMA


class Model(nn.Module):
    """One parameter, one floating-point buffer and one of integers."""

    mean: torch.Tensor
    counts: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0]))
        self.register_buffer("mean", torch.tensor([10.0]))
        self.register_buffer("counts", torch.tensor([5, 3]))


def test_parameters_and_buffers_are_averaged_and_integers_copied() -> None:
    model = Model()
    ema = EMA(model, 0.15)
    # the decay rises to that of the params
    for step, decay in ((0, 0.1), (1, 0.15), (2, 0.15)):
        weight, mean = ema.module.weight.item(), ema.module.mean.item()
        with torch.no_grad():
            model.weight += 1
            model.mean *= 2
            model.counts += 7
        ema.update(step)
        expected = weight * decay + model.weight.item() * (1 - decay)
        assert ema.module.weight.item() == pytest.approx(expected)
        expected = mean * decay + model.mean.item() * (1 - decay)
        assert ema.module.mean.item() == pytest.approx(expected)
        assert ema.module.counts.tolist() == model.counts.tolist()


def test_the_model_itself_is_left_as_it_is() -> None:
    model = Model()
    ema = EMA(model, 0.5)
    with torch.no_grad():
        model.weight += 1
    ema.update(100)
    assert model.weight.item() == 2.0
    assert not ema.module.weight.is_set_to(model.weight)
