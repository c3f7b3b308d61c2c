"""Batches: each image once per epoch, in an order that follows from the seed."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from reprovision.data.batches import Batches, seed_for
from reprovision.data.dataset import Split

CPU = torch.device("cpu")


def numbered(count: int) -> Split:
    """Images that each hold their own number, and labels that do so too."""
    numbers = np.arange(count)
    return Split(np.tile(numbers[:, None, None, None], (1, 1, 2, 2)).astype(np.uint8), numbers)


@given(st.integers(1, 200), st.integers(1, 64), st.integers(0, 2**63 - 1))
def test_an_epoch_is_a_permutation_of_the_images_with_their_labels(
    count: int, batch_size: int, seed: int
) -> None:
    batches = Batches(numbered(count), batch_size, CPU)
    got = list(batches.epoch(seed))
    assert len(got) == len(batches)
    assert [len(labels) for _, labels in got[:-1]] == [batch_size] * (len(got) - 1)
    labels = torch.cat([labels for _, labels in got])
    assert sorted(labels.tolist()) == list(range(count))
    for pixels, numbers in got:
        assert pixels.dtype == torch.uint8
        assert pixels.shape == (len(numbers), 1, 2, 2)
        assert (pixels == numbers.view(-1, 1, 1, 1)).all()


@given(st.integers(2, 5), st.data(), st.integers(1, 4))
def test_workers_share_each_batch(workers: int, data: st.DataObject, accumulate: int) -> None:
    count = data.draw(st.integers(2 * workers, 200))
    batch_size = data.draw(st.integers(2 * workers, 64))
    single = Batches(numbered(count), batch_size, CPU)
    parts = [
        Batches(numbered(count), batch_size, CPU, None, rank, workers) for rank in range(workers)
    ]
    shares = [[labels for _, labels in part.epoch(0)] for part in parts]
    whole = [torch.cat(shared) for shared in zip(*shares, strict=True)]
    assert len(whole) == len(parts[0])
    assert all(len(share) >= 2 for part in shares for share in part), "for batch normalization"
    wanted = torch.cat([labels for _, labels in single.epoch(0)])
    assert torch.equal(torch.cat(whole).sort().values, wanted.sort().values)
    for batch, labels in zip(whole[:-1], single.epoch(0), strict=False):
        assert sorted(batch.tolist()) == sorted(labels[1].tolist()), "the same batches as one"
    sizes = [len(batch) for batch in whole]
    for index in range(len(whole)):
        start = index // accumulate * accumulate
        assert parts[0].step_size(index, accumulate) == sum(sizes[start : start + accumulate])


def test_the_order_follows_from_the_seed() -> None:
    batches = Batches(numbered(100), 10, CPU)
    first, again, other = (torch.cat([b for _, b in batches.epoch(s)]) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_each_epoch_and_purpose_has_a_seed_of_its_own() -> None:
    seeds = [
        seed_for(seed, epoch, purpose)
        for seed in range(20)
        for epoch in range(20)
        for purpose in ("order", "dropout", "augmentation", "weights")
    ]
    assert len(set(seeds)) == len(seeds)
    assert seeds[0] == seed_for(0, 0, "order")
