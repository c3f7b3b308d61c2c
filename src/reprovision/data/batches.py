"""Whole batches gathered from tensors in memory, in an order that seed and epoch decide."""

from collections.abc import Iterator
from math import ceil

import numpy as np
import torch
from torch import Tensor

from reprovision.data.dataset import Split
from reprovision.data.paging import RandomAccess


def seed_for(seed: int, epoch: int, purpose: str) -> int:
    """An independent 63-bit seed for each purpose and epoch.

    Deriving it, rather than drawing on, lets a resumed run go on exactly as an uninterrupted one.
    """
    entropy = [seed, epoch, *purpose.encode()]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1)


GATHERED = 2**20
"""Bytes gathered at once, for several small batches: as much as stays in a processor's cache."""


class Batches:
    """The images of a split as shuffled batches on a device.

    On the CPU they stay in the memory map, so that a split may be larger than memory, and numpy
    gathers them: it copies whole images, where torch takes up to 80 times as long for bytes. To
    another device all images are copied once, and gathered there.

    Args:
        split: the images.
        batch_size: images in a batch; the last one of an epoch may have fewer.
        device: where the batches are needed.
    """

    def __init__(self, split: Split, batch_size: int, device: torch.device) -> None:
        self.split = split
        self.batch_size = batch_size
        self.device = device
        batch_bytes = batch_size * int(np.prod(split.images.shape[1:]))
        self.ahead = max(1, GATHERED // batch_bytes)
        if device.type == "cpu":
            self.access = RandomAccess(split.images)
        else:
            self.images = torch.from_numpy(split.images).to(device)
            self.labels = torch.from_numpy(split.labels).to(device)

    def __len__(self) -> int:
        return ceil(len(self.split) / self.batch_size)

    def epoch(self, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields every image once: pixels uint8 (n, C, H, W) and labels int64 (n,)."""
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(self.split), generator=generator).to(self.device)
        for rows in order.split(self.batch_size * self.ahead):
            pixels, labels = self._gather(rows)
            yield from zip(
                pixels.split(self.batch_size), labels.split(self.batch_size), strict=True
            )

    def _gather(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        if self.device.type != "cpu":
            return self.images[rows], self.labels[rows]
        self.access.expect(rows.numpy())
        pixels = np.take(self.split.images, rows.numpy(), axis=0)
        labels = np.take(self.split.labels, rows.numpy(), axis=0)
        return torch.from_numpy(pixels), torch.from_numpy(labels)
