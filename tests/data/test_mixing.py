"""MixUp and CutMix: which pixels and which labels a mixed image has."""

import pytest
import torch
from project import tiny_params
from torch import Tensor
from torch.nn import functional

from reprovision.data.mixing import Mixing, Targets
from reprovision.training.factories import build_loss

COUNT, SIDE = 200, 16


def mixing(seed: int = 0, **alphas: float) -> Mixing:
    params = tiny_params(**{f"train.augment.{key}": value for key, value in alphas.items()})
    return Mixing(params.train.augment, seed)


def flat(count: int = COUNT) -> tuple[Tensor, Tensor]:
    """Images of one value each, which is the label."""
    labels = torch.arange(count)
    return labels.to(torch.uint8).view(-1, 1, 1, 1).expand(count, 1, SIDE, SIDE), labels


def parts(targets: Targets) -> tuple[Tensor, Tensor]:
    assert targets.others is not None and targets.shares is not None
    return targets.others, targets.shares


def test_without_mixing_pixels_and_labels_are_returned_as_they_are() -> None:
    pixels, labels = flat()
    mixed, targets = mixing()(pixels, labels)
    assert mixed is pixels
    assert targets.for_loss(COUNT) is labels
    assert targets.dominant is labels


def test_mixup_blends_each_image_with_another_one_by_the_share_of_its_label() -> None:
    pixels, labels = flat()
    mixed, targets = mixing(mixup=1.0)(pixels, labels)
    others, shares = parts(targets)
    assert sorted(others.tolist()) == labels.tolist()
    expected = shares * labels + (1 - shares) * others
    assert torch.allclose(mixed, expected.view(-1, 1, 1, 1).expand_as(mixed), atol=1e-3)
    assert len(shares.unique()) > COUNT / 2


def test_cutmix_pastes_a_rectangle_of_another_image_and_its_area_is_the_share() -> None:
    pixels, labels = flat()
    mixed, targets = mixing(cutmix=1.0)(pixels, labels)
    others, shares = parts(targets)
    for image, label, other, share in zip(mixed[:, 0], labels, others, shares, strict=True):
        pasted = image == other
        assert ((image == label) | pasted).all()
        if label != other:
            assert pasted.float().mean().item() == pytest.approx(1 - share.item())
            rows, columns = pasted.any(1), pasted.any(0)
            assert pasted.sum() == rows.sum() * columns.sum()
    assert 0.4 < shares.mean() < 0.8
    assert 0.2 < shares.quantile(0.1) < shares.quantile(0.9)


def test_the_shares_have_the_beta_distribution_of_alpha() -> None:
    pixels, labels = flat()
    for alpha in (0.2, 1.0, 8.0):
        _, shares = parts(mixing(mixup=alpha)(pixels, labels)[1])
        assert shares.mean().item() == pytest.approx(0.5, abs=0.1)
        assert shares.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.25)


def test_with_both_each_batch_gets_one_of_them() -> None:
    pixels, labels = flat(50)
    mix = mixing(mixup=1.0, cutmix=1.0)
    blended = 0
    for _ in range(100):
        mixed, targets = mix(pixels, labels)
        pair = torch.stack([labels, parts(targets)[0]]).view(2, -1, 1, 1, 1)
        blended += not (mixed == pair).any(0).all()
    assert 30 < blended < 70


def test_the_same_seed_mixes_the_same() -> None:
    pixels, labels = flat()
    one, two, other = (mixing(seed, mixup=0.3, cutmix=1.0)(pixels, labels) for seed in (0, 0, 1))
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1].for_loss(COUNT), two[1].for_loss(COUNT))
    assert not torch.equal(one[1].for_loss(COUNT), other[1].for_loss(COUNT))


def test_targets_are_the_shares_of_the_classes_and_the_larger_one_is_dominant() -> None:
    labels, others = torch.tensor([0, 1, 2]), torch.tensor([1, 0, 2])
    targets = Targets(labels, others, torch.tensor([0.7, 0.2, 0.4]))
    expected = torch.tensor([[0.7, 0.3, 0.0], [0.8, 0.2, 0.0], [0.0, 0.0, 1.0]])
    assert torch.allclose(targets.for_loss(3), expected)
    assert targets.dominant.tolist() == [0, 0, 2]


@pytest.mark.parametrize("loss", ["cross_entropy", "softmax_cross_entropy"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_of_a_mix_is_the_mix_of_the_losses(loss: str, smoothing: float) -> None:
    torch.manual_seed(0)
    logits, labels, others = torch.randn(9, 4), torch.arange(9) % 4, torch.arange(9) // 3
    shares = torch.rand(9)
    train = tiny_params(**{"train.loss": loss, "train.label_smoothing": smoothing}).train
    got = build_loss(train)(logits, Targets(labels, others, shares).for_loss(4))
    scores = logits.softmax(1) if loss == "softmax_cross_entropy" else logits
    first, second = (
        functional.cross_entropy(scores, of, label_smoothing=smoothing, reduction="none")
        for of in (labels, others)
    )
    assert got.item() == pytest.approx((shares * first + (1 - shares) * second).mean().item())


def test_a_batch_of_one_image_is_mixed_with_itself() -> None:
    pixels, labels = flat(1)
    for alphas in ({"mixup": 1.0}, {"cutmix": 1.0}):
        mixed, _ = mixing(**alphas)(pixels, labels)
        assert torch.equal(mixed, pixels.float())
