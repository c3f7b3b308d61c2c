"""The processes that train one network together, on one machine or several."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Workers:
    """Which of them this process is, and what they exchange; a single one exchanges nothing.

    All of them call the same methods in the same order. What is added up is added up in an order
    that depends on their number alone: the same number gives the same bytes.

    Attributes:
        rank: of this process, counted from 0; the first writes the outputs.
        count: number of workers.
        local_rank: rank among those on this machine.
        local_count: number of those on this machine.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this worker writes the outputs."""
        return self.rank == 0

    def purpose(self, name: str) -> str:
        """A purpose for `seed_for`, so that each worker gets random draws of its own."""
        return name if self.is_first else f"{name} of worker {self.rank}"

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model, with gradients that are averaged over the workers.

        To be wrapped anew in each epoch. torch orders the gradients by the first step that it sees,
        and a training that was resumed after some epoch must see the same one.
        """
        if self.count == 1:
            return model
        return DistributedDataParallel(model, forward_sync_buffers=False)

    def averaging(self, wrapped: nn.Module, now: bool) -> AbstractContextManager[None]:
        """Gradients of the backward pass within are averaged now, or with those of a later one."""
        if now or not isinstance(wrapped, DistributedDataParallel):
            return nullcontext()
        return wrapped.no_sync()

    def average_statistics(self, model: nn.Module) -> None:
        """Gives all workers the mean of the running statistics of batch normalization.

        Each worker has those of the images that it was given.
        """
        if self.count == 1:
            return
        for name, buffer in model.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                distributed.all_reduce(buffer)
                buffer.div_(self.count)

    def part(self, count: int) -> slice:
        """This worker's share of so many rows."""
        return slice(count * self.rank // self.count, count * (self.rank + 1) // self.count)

    def join(self, rows: Tensor) -> Tensor:
        """All rows, on the CPU, from the share that each worker has on the CPU."""
        return rows if self.count == 1 else torch.cat(self.all(rows))

    def all(self, value: Any) -> list[Any]:
        """The values of all workers by rank; anything that can be pickled."""
        if self.count == 1:
            return [value]
        values = [None] * self.count
        distributed.all_gather_object(values, value)
        return values

    def broadcast(self, value: Any, rank: int) -> Any:
        """The value of the worker of a rank, of several."""
        values = [value]
        distributed.broadcast_object_list(values, rank)
        return values[0]


SINGLE = Workers()
"""A training in one process."""
