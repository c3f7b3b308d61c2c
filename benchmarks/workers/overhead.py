"""Our loop against the bare arithmetic of training, in turn in one process.

The differences between two processes are larger than the ratio that is measured.
"""

import time

import torch

from benchmarks.workers.ours import head
from benchmarks.workers.params import params_of
from reprovision.core.params import Params
from reprovision.data.dataset import DatasetInfo, Split, load_info, load_split
from reprovision.models.hardware import autocast, choose_precision
from reprovision.training import loop
from reprovision.training.factories import build_loss


def compare(
    recipe: str, prepared: str, rounds: int, images: int | None = None
) -> dict[str, list[float]]:
    """Seconds of an epoch in our loop, and of the same number of steps on a batch in memory."""
    params = params_of(recipe, train__epochs=1)
    info, split = load_info(prepared), head(load_split(prepared, "train"), images)
    few = head(split, 4 * params.train.batch_size)
    _epoch(params, info, few)
    _bare_steps(params, info, few)
    seconds: dict[str, list[float]] = {"ours": [], "bare": []}
    for _ in range(rounds):
        seconds["ours"].append(_epoch(params, info, split))
        seconds["bare"].append(_bare_steps(params, info, split))
    return seconds


def _epoch(params: Params, info: DatasetInfo, split: Split) -> float:
    state = loop.start(params, info)
    began = time.perf_counter()
    loop.train(state, split, head(split, 0), params)
    return time.perf_counter() - began


def _bare_steps(params: Params, info: DatasetInfo, split: Split) -> float:
    """Forward, backward and optimiser step for as many images, always the same ones."""
    state = loop.start(params, info)
    model, optimizers = state.classifier.train(), state.optimizers
    for group in (group for optimizer in optimizers for group in optimizer.param_groups):
        # without a schedule the full rate would make the loss infinite
        group["lr"] *= 0.01
    size = params.train.batch_size
    pixels = torch.from_numpy(split.images[:size].copy())
    labels = torch.from_numpy(split.labels[:size].copy())
    loss_function = build_loss(params.train)
    device = torch.device("cpu")
    precision = choose_precision(params, device)
    began = time.perf_counter()
    for start in range(0, len(split), size):
        # the last batch may be smaller
        count = min(size, len(split) - start)
        with autocast(device, precision):
            logits = model(pixels[:count])
        loss = loss_function(logits.float(), labels[:count])
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    return time.perf_counter() - began
