"""The package's own training and scoring, timed."""

import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.workers.machine import memory_mib
from benchmarks.workers.params import params_of
from reprovision.data.dataset import Split, load_info, load_split
from reprovision.models.checkpoint import load_checkpoint, save_checkpoint
from reprovision.models.classifier import build_model
from reprovision.models.hardware import set_threads
from reprovision.models.inference import score
from reprovision.training import loop
from reprovision.training.callbacks import Callback
from reprovision.training.running_metrics import RunningMetrics


def head(split: Split, images: int | None) -> Split:
    """The first images of a split, or all."""
    return replace(split, images=split.images[:images], labels=split.labels[:images])


def train(
    recipe: str, prepared: str, seed: int, images: int | None = None, **changes: Any
) -> dict[str, float]:
    """Trains a recipe as the train stage does; seconds of the loop, accuracy in percent."""
    params = params_of(recipe, seed=seed, **changes)
    train, val, test = (load_split(prepared, name) for name in ("train", "val", "test"))
    train = head(train, images)
    state = loop.start(params, load_info(prepared))
    began = time.perf_counter()
    loop.train(state, train, val, params)
    seconds = time.perf_counter() - began
    accuracy = 100 * score(state.saved_model, test, params.evaluate.batch_size).accuracy
    return {
        "seconds": seconds,
        "accuracy": accuracy,
        "images_per_second": len(train) * params.train.epochs / seconds,
        "peak_mib": memory_mib("VmHWM"),
        # without what belongs to files and can be read again
        "anonymous_mib": memory_mib("RssAnon"),
    }


def train_for(recipe: str, prepared: str, seconds: float) -> dict[str, float]:
    """Trains for so many seconds of an epoch at most; images/s."""
    params = params_of(recipe, train__epochs=1)
    train, val = load_split(prepared, "train"), load_split(prepared, "val")
    state = loop.start(params, load_info(prepared))
    stopwatch = _Stopwatch(seconds)
    with suppress(_TimeIsUpError):
        loop.train(state, train, val, params, [stopwatch])
    return {
        "images_per_second": stopwatch.images / stopwatch.seconds,
        "anonymous_mib": memory_mib("RssAnon"),
    }


class _TimeIsUpError(Exception):
    pass


class _Stopwatch(Callback):
    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.began = time.perf_counter()
        self.images = 0
        self.seconds = 0.0

    def on_batch_end(self, epoch: int, metrics: RunningMetrics) -> None:
        self.images = metrics.images
        self.seconds = time.perf_counter() - self.began
        if self.seconds > self.limit:
            raise _TimeIsUpError


def evaluate(recipe: str, prepared: str, images: int | None = None) -> dict[str, float]:
    """Scores the test images with new parameters, after one batch to warm up."""
    params, info = params_of(recipe), load_info(prepared)
    test = head(load_split(prepared, "test"), images)
    set_threads(params)
    classifier = build_model(params.model, info.shape, len(info.classes), info.mean, info.std)
    with TemporaryDirectory() as folder:
        # as the evaluate stage gets it
        path = Path(folder) / "checkpoint.safetensors"
        save_checkpoint(path, classifier, params.model, info)
        classifier = load_checkpoint(path).classifier
    score(classifier, head(test, 64), params.evaluate.batch_size)
    began = time.perf_counter()
    score(classifier, test, params.evaluate.batch_size)
    return {"seconds": time.perf_counter() - began}
