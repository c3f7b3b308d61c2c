"""The mean over an image and its mirror image, as `evaluate.flip` asks for it."""

import math

import torch
from torch import Tensor, nn

from reprovision.models.classifier import Classifier


class MirrorAverage(nn.Module):
    """A classifier that looks at each image and at its mirror image, in twice the time.

    Takes pixels as the classifier does, and returns the logarithm of the mean of both
    probabilities (N, classes): logits whose softmax is that mean.
    """

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.classifier.device

    def forward(self, pixels: Tensor) -> Tensor:
        # one batch of both, so that the exported graph has every layer once
        both = self.classifier(torch.cat([pixels, pixels.flip(3)]))
        # not chunk: the exporter fails on it where the batch size is dynamic
        return both.float().log_softmax(1).unflatten(0, (2, -1)).logsumexp(0) - math.log(2)


def with_flip(classifier: Classifier, flip: bool) -> Classifier | MirrorAverage:
    """The model that is evaluated and exported; `flip` is `evaluate.flip`."""
    return MirrorAverage(classifier) if flip else classifier
