"""Whole batches gathered from tensors in memory, in an order that seed and epoch decide."""

from collections.abc import Iterator
from math import ceil

import numpy as np
import torch
from torch import Tensor

from reprovision.data.dataset import Split


def seed_for(seed: int, epoch: int, purpose: str) -> int:
    """An independent 63-bit seed for each purpose and epoch.

    Deriving it, rather than drawing on, lets a resumed run go on exactly as an uninterrupted one.
    """
    entropy = [seed, epoch, *purpose.encode()]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1)


class Batches:
    """The images of a split as shuffled batches on a device.

    On the CPU they stay in the memory map, so that a split may be larger than memory; to another
    device they are copied whole, once.

    Args:
        split: the images.
        batch_size: images in a batch; the last one of an epoch may have fewer.
        device: where the batches are needed.
    """

    def __init__(self, split: Split, batch_size: int, device: torch.device) -> None:
        self.images = torch.from_numpy(split.images).to(device)
        self.labels = torch.from_numpy(split.labels).to(device)
        self.batch_size = batch_size

    def __len__(self) -> int:
        return ceil(len(self.labels) / self.batch_size)

    def epoch(self, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields every image once: pixels uint8 (n, C, H, W) and labels int64 (n,)."""
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(self.labels), generator=generator).to(self.labels.device)
        for rows in order.split(self.batch_size):
            yield self.images[rows], self.labels[rows]
