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

    Args:
        split: the images.
        batch_size: images per batch; the last one of an epoch may have fewer.
        device: of the batches.
    """

    def __init__(self, split: Split, batch_size: int, device: torch.device) -> None:
        self.split = split
        self.batch_size = batch_size
        self.device = device
        batch_bytes = batch_size * prod(split.images.shape[1:])
        self.gathered = batch_size * max(1, GATHER_BYTES // batch_bytes)
        if device.type == "cpu":
            self.prefetcher = Prefetcher(split.images)
        else:
            self.images = torch.from_numpy(split.images).to(device)
            self.labels = torch.from_numpy(split.labels).to(device)

    def __len__(self) -> int:
        return ceil(len(self.split) / self.batch_size)

    def epoch(self, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields each image once: pixels uint8 (n, C, H, W) and labels int64 (n,)."""
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(self.split), generator=generator).to(self.device)
        for rows in order.split(self.gathered):
            pixels, labels = self._gather(rows)
            yield from zip(
                pixels.split(self.batch_size), labels.split(self.batch_size), strict=True
            )

    def _gather(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        if self.device.type != "cpu":
            return self.images[rows], self.labels[rows]
        self.prefetcher.prefetch(rows.numpy())
        pixels = np.take(self.split.images, rows.numpy(), axis=0)
        labels = np.take(self.split.labels, rows.numpy(), axis=0)
        return torch.from_numpy(pixels), torch.from_numpy(labels)
