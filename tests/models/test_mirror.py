"""The mean over image and mirror image."""

import torch
from torch import nn

from reprovision.models.classifier import Classifier
from reprovision.models.inference import predict
from reprovision.models.mirror import MirrorAverage, with_flip


def classifier() -> Classifier:
    torch.manual_seed(0)
    return Classifier(nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 5, 4)), [0.5] * 3, [0.2] * 3)


def photos(count: int = 9) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, 6, 5), generator=random, dtype=torch.uint8)


def test_probabilities_are_the_mean_of_those_of_image_and_mirror_image() -> None:
    model, pixels = classifier(), photos()
    mean = (model(pixels).softmax(1) + model(pixels.flip(3)).softmax(1)) / 2
    logits = predict(MirrorAverage(model), pixels, 4)
    assert torch.allclose(logits.softmax(1), mean, atol=1e-6)
    assert torch.allclose(logits.exp().sum(1), torch.ones(9), atol=1e-5)


def test_left_and_right_do_not_matter() -> None:
    model, pixels = MirrorAverage(classifier()), photos()
    one, two = predict(model, pixels, 9), predict(model, pixels.flip(3), 9)
    assert torch.allclose(one, two, atol=1e-5)
    assert not torch.allclose(one, predict(model, pixels.flip(2), 9), atol=1e-3)


def test_confident_answers_stay_finite() -> None:
    model = classifier()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1000)
    assert predict(MirrorAverage(model), photos(), 9).isfinite().all()


def test_without_flip_the_with_flip_is_the_classifier() -> None:
    model = classifier()
    assert with_flip(model, False) is model
    assert isinstance(with_flip(model, True), MirrorAverage)
