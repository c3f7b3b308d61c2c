"""Running metrics: means over the images so far, however often they are read."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from reprovision.training.running_metrics import PENDING, RunningMetrics


def batch(size: int) -> tuple[Tensor, Tensor, Tensor]:
    logits, labels = torch.randn(size, 5), torch.randint(0, 5, (size,))
    return functional.cross_entropy(logits, labels), logits, labels


@pytest.mark.parametrize("every", [1, 7, 1000])
def test_loss_and_accuracy_are_means_over_all_images_so_far(every: int) -> None:
    torch.manual_seed(0)
    # the last batch of an epoch is smaller
    batches = [batch(4) for _ in range(2 * PENDING + 10)] + [batch(1)]
    metrics = RunningMetrics()
    for number, values in enumerate(batches):
        metrics.add(*values)
        if number % every == 0:
            metrics.loss()
    _, logits, labels = zip(*batches, strict=True)
    logits, labels = torch.cat(logits), torch.cat(labels)
    assert metrics.images == len(labels)
    assert metrics.loss() == pytest.approx(functional.cross_entropy(logits, labels).item())
    accuracy = (logits.argmax(1) == labels).double().mean().item()
    assert metrics.accuracy() == pytest.approx(accuracy)


def test_reading_them_for_a_progress_bar_does_not_change_the_last_bit_of_the_history() -> None:
    torch.manual_seed(0)
    _, logits, labels = batch(3)
    # of very different size: their sum in double precision is rounded
    batch_losses = torch.rand(5 * PENDING) * 10 ** (-9 * torch.rand(5 * PENDING))
    losses = set()
    for every in (1, 7, 30, 1000):
        metrics = RunningMetrics()
        for number, loss in enumerate(batch_losses):
            metrics.add(loss, logits, labels)
            if number % every == 0:
                metrics.loss()
        losses.add(metrics.loss())
    assert len(losses) == 1
