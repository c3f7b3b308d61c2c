"""Predictions and scores of a classifier over many images."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from reprovision.data.dataset import Split
from reprovision.models.classifier import Classifier
from reprovision.models.mirror import MirrorAverage
from reprovision.models.workers import SINGLE, Workers

FEATURES_BATCH = 32
"""Images per batch where features are computed: those of photos fill the memory quickly."""


@dataclass(frozen=True)
class Scores:
    """Mean cross-entropy loss in nats, and accuracy as a fraction."""

    loss: float
    accuracy: float


@torch.inference_mode()
def predict(classifier: Classifier | MirrorAverage, images: Tensor, batch_size: int) -> Tensor:
    """Logits (N, classes), float32 on the CPU, for uint8 images (N, C, H, W), in order.

    The classifier is left in evaluation mode.
    """
    return _in_batches(classifier, classifier, images, batch_size)


@torch.inference_mode()
def compute_features(classifier: Classifier, split: Split, workers: Workers = SINGLE) -> Split:
    """The split with features float32 (N, F) in place of its images, for training of the head.

    Each worker computes a part of them. The classifier is left in evaluation mode.
    """
    if not len(split):
        return split
    images = torch.from_numpy(split.images[workers.part(len(split))])
    features = _in_batches(classifier, classifier.features, images, FEATURES_BATCH)
    return Split(workers.join(features).numpy(), split.labels)


def _in_batches(
    classifier: Classifier | MirrorAverage,
    compute: Callable[[Tensor], Tensor],
    images: Tensor,
    batch_size: int,
) -> Tensor:
    """What a part of the classifier computes, float32 on the CPU, in evaluation mode."""
    classifier.eval()
    batches = images.split(batch_size)
    found = [compute(batch.to(classifier.device)).float().cpu() for batch in batches]
    return torch.cat(found) if found else torch.empty(0)


def score(
    classifier: Classifier, split: Split, batch_size: int, workers: Workers = SINGLE
) -> Scores:
    """Loss and accuracy over a split; each worker classifies a part of it."""
    images = torch.from_numpy(split.images[workers.part(len(split))])
    logits = workers.join(predict(classifier, images, batch_size))
    labels = torch.from_numpy(split.labels)
    loss = functional.cross_entropy(logits.double(), labels)
    accuracy = (logits.argmax(1) == labels).double().mean()
    return Scores(loss.item(), accuracy.item())
