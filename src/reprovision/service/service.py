"""What happens between an upload and its answer: limits, decoding, batches, the model in use."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial

import numpy as np
from fastapi import HTTPException

from reprovision.core.errors import printable
from reprovision.images.preprocessing import (
    ImageError,
    Preprocessing,
    TooLargeError,
    UnknownFormatError,
)
from reprovision.service.batcher import Batcher
from reprovision.service.decoding import read_drawing, read_image
from reprovision.service.metrics import Metrics
from reprovision.service.models import Loaded, Models

BATCH = 32
"""Images predicted at a time; more would not be faster (benchmarks/parts/predict.py)."""

Upload = tuple[str, bytes]
"""An image file: its name and its content."""

Result = tuple[np.ndarray, np.ndarray]
"""Of an image: its pixels, uint8 (C, H, W), and its probabilities, float32 (classes,)."""


@dataclass(frozen=True)
class Limits:
    """What the service takes at most.

    Attributes:
        body: bytes of a request.
        pixels: of an image, as its header states them.
        queue: images under way, which bounds memory: each may hold a whole body.
        seconds: from the beginning of a request to its answer.
    """

    body: int = 20 * 2**20
    pixels: int = 64_000_000
    queue: int = 128
    seconds: float = 30


class Service:
    """Answers with the latest model.

    Args:
        models: where that is found.
        follow: seconds between looking for a newer model; None for never.

    Attributes:
        loaded: the model in use; a request keeps the one that it began with.

    Raises:
        UserError: there is no model.
    """

    def __init__(self, models: Models, limits: Limits, follow: float | None = None) -> None:
        self.models, self.limits, self.follow = models, limits, follow
        self.metrics = Metrics()
        self.under_way = 0
        self.stopping = False
        self.tasks: list[asyncio.Task[None]] = []
        self.batcher = Batcher(BATCH, self.metrics.batches.observe)
        self.decoders = ThreadPoolExecutor(os.cpu_count())
        self._use(models.load(models.latest()))

    @property
    def is_ready(self) -> bool:
        """Whether it takes another request."""
        works = bool(self.tasks) and not any(task.done() for task in self.tasks)
        return works and not self.stopping and self.under_way < self.limits.queue

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Predicts and looks for newer models within the block."""
        self.tasks = [asyncio.create_task(self.batcher.run())]
        if self.follow is not None:
            self.tasks.append(asyncio.create_task(self._follow(self.follow)))
        try:
            yield
        finally:
            self.stopping = True
            for task in self.tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            # without waiting for an image that takes long: its request is over
            self.decoders.shutdown(wait=False, cancel_futures=True)

    @contextmanager
    def admitted(self, images: int) -> Iterator[None]:
        """Counts images as under way within the block.

        Raises:
            HTTPException: 429, where there are too many.
        """
        if self.under_way + images > self.limits.queue:
            raise HTTPException(
                429,
                f"{self.under_way} images are under way, of at most {self.limits.queue}: try again "
                "in a second",
                {"Retry-After": "1"},
            )
        self._count(images)
        try:
            yield
        finally:
            self._count(-images)

    async def predict(
        self, loaded: Loaded, uploads: Sequence[Upload], is_drawing: bool
    ) -> list[Result]:
        """Pixels and probabilities of each image.

        Raises:
            HTTPException: 413, 415 or 422, which names all images that can't be read.
        """
        how, box = loaded.predictor.preprocessing, loaded.predictor.drawing_box
        read: Callable[[bytes, Preprocessing, int], np.ndarray] = read_image
        if is_drawing:
            if box is None:
                raise HTTPException(422, "the model takes color images: drawings are grayscale")
            read = partial(read_drawing, box=box)
        loop = asyncio.get_running_loop()
        decoded = await asyncio.gather(
            *(
                loop.run_in_executor(self.decoders, read, content, how, self.limits.pixels)
                for _, content in uploads
            ),
            return_exceptions=True,
        )
        pixels = _all_readable([name for name, _ in uploads], decoded)
        answers = await asyncio.gather(
            *(self.batcher.predict(loaded.predictor.probabilities, image) for image in pixels)
        )
        self.metrics.images.inc(len(answers))
        return list(zip(pixels, answers, strict=True))

    def _count(self, images: int) -> None:
        self.under_way += images
        self.metrics.under_way.set(self.under_way)

    def _use(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self.metrics.model.info({"name": loaded.name, "version": loaded.version})

    async def _follow(self, seconds: float) -> None:
        """Looks for a newer model again and again; where that fails, the current one stays."""
        failure = ""
        while True:
            await asyncio.sleep(seconds)
            try:
                version = await asyncio.to_thread(self.models.latest)
                if version != self.loaded.version:
                    self._use(await asyncio.to_thread(self.models.load, version))
                    _report(f"now answering with version {version} of {self.loaded.name}")
                failure = ""
            # a file may vanish, too; reported once, and not at every look
            except Exception as error:
                if str(error) != failure:
                    failure = str(error)
                    _report(f"warning: still answering with the previous model: {failure}")


def _all_readable(
    names: Sequence[str], decoded: Sequence[np.ndarray | BaseException]
) -> list[np.ndarray]:
    failed = [
        (name, result)
        for name, result in zip(names, decoded, strict=True)
        if isinstance(result, BaseException)
    ]
    for _, error in failed:
        if not isinstance(error, ImageError):
            raise error
    if failed:
        reasons = "; ".join(printable(f"{name}: {error}") for name, error in failed[:10])
        more = f"; and {len(failed) - 10} more" if len(failed) > 10 else ""
        raise HTTPException(_status(failed[0][1]), reasons + more)
    return [result for result in decoded if not isinstance(result, BaseException)]


def _status(error: BaseException) -> int:
    if isinstance(error, TooLargeError):
        return 413
    return 415 if isinstance(error, UnknownFormatError) else 422


def _report(line: str) -> None:
    print(printable(line), file=sys.stderr, flush=True)
