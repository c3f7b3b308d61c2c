"""Shuffled batches, in an order that follows from seed and epoch."""

from collections.abc import Iterator
from math import ceil, prod

import numpy as np
import torch
from torch import Tensor

from reprovision.data.dataset import Split
from reprovision.data.prefetch import Prefetcher

GATHER_BYTES = 2**20
"""Small batches are gathered several at once, up to this size, which fits in a CPU's cache."""


def seed_for(seed: int, epoch: int, purpose: str) -> int:
    """An independent 63-bit seed for each purpose and epoch.

    Because it is derived, not drawn, a resumed run gets the same seeds as an uninterrupted one.
    """
    entropy = [seed, epoch, *purpose.encode()]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1)


class Batches:
    """The images of a split as shuffled batches on a device.

    On the CPU they stay in the memory map, so that a dataset need not fit in RAM, and NumPy gathers
    them: it copies whole images, where torch takes up to 80 times as long for uint8. For another
    device all images are copied once, and gathered there.

    Several workers share each batch: of its images every one gets each `workers`-th. Batch
    normalization needs at least two: where fewer would be left for the last batch of an epoch, they
    belong to the one before.

    Args:
        split: the images.
        batch_size: images per batch, of all workers; the last one of an epoch may have fewer.
        device: of the batches.
        class_weights: probability of an image by its label, up to a factor, with which an epoch
            draws as many images as there are, with replacement; None draws each image once.
        rank: of this worker, counted from 0.
        workers: their number.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        device: torch.device,
        class_weights: Tensor | None = None,
        rank: int = 0,
        workers: int = 1,
    ) -> None:
        self.split = split
        self.device = device
        self.class_weights = class_weights
        self.rank, self.workers = rank, workers
        least = 2 * workers if workers > 1 else 1
        count = len(split)
        self.bounds = [*range(0, max(1, count - least + 1), batch_size), count]
        own_bytes = batch_size // workers * prod(split.images.shape[1:])
        self.gathered = max(1, GATHER_BYTES // max(1, own_bytes))
        if device.type == "cpu":
            self.prefetcher = Prefetcher(split.images)
        else:
            self.images = torch.from_numpy(split.images).to(device)
            self.labels = torch.from_numpy(split.labels).to(device)

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def steps(self, accumulate: int) -> int:
        """Steps per epoch, where each takes so many batches; the last may have fewer."""
        return ceil(len(self) / accumulate)

    def step_size(self, batch: int, accumulate: int) -> int:
        """Images of the step that a batch, counted from 0, belongs to, of all workers."""
        first = batch // accumulate * accumulate
        return self.bounds[min(first + accumulate, len(self))] - self.bounds[first]

    def epoch(self, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields all images in random order: pixels uint8 (n, C, H, W) and labels int64 (n,)."""
        order = self._order(torch.Generator().manual_seed(seed)).to(self.device)
        batches = order.tensor_split(self.bounds[1:-1])
        own = [rows[self.rank :: self.workers] for rows in batches]
        for start in range(0, len(own), self.gathered):
            group = own[start : start + self.gathered]
            sizes = [len(rows) for rows in group]
            pixels, labels = self._gather(torch.cat(group))
            yield from zip(pixels.split(sizes), labels.split(sizes), strict=True)

    def _order(self, generator: torch.Generator) -> Tensor:
        """Indices of an epoch's images."""
        count = len(self.split)
        if self.class_weights is None:
            return torch.randperm(count, generator=generator)
        weights = self.class_weights[torch.from_numpy(self.split.labels)].double()
        return torch.multinomial(weights, count, replacement=True, generator=generator)

    def _gather(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        if self.device.type != "cpu":
            return self.images[rows], self.labels[rows]
        self.prefetcher.prefetch(rows.numpy())
        pixels = np.take(self.split.images, rows.numpy(), axis=0)
        labels = np.take(self.split.labels, rows.numpy(), axis=0)
        return torch.from_numpy(pixels), torch.from_numpy(labels)


def balanced_weights(labels: np.ndarray) -> Tensor:
    """A weight for each class, inverse to its frequency, with a mean over the images of 1.

    This is scikit-learn's "balanced", which takes two seconds to import (n=2). Classes without
    images have the weight 0.

    Args:
        labels: (N,) int64.

    Returns:
        float32 (largest label + 1,).
    """
    counts = np.bincount(labels)
    weights = len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return torch.from_numpy(np.where(counts > 0, weights, 0).astype(np.float32))
