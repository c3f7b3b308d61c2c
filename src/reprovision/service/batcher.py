"""Images of many requests, predicted together."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

Predict = Callable[[np.ndarray], np.ndarray]
"""From pixels, uint8 (N, C, H, W), to probabilities, float32 (N, classes)."""

Waiting = tuple[Predict, np.ndarray, "asyncio.Future[np.ndarray]"]


class Batcher:
    """Predicts images one batch after the other, each of what has arrived meanwhile.

    No image waits for others to come: without load, each is a batch of its own.

    Args:
        largest: images of a batch at most.
        on_batch: is called with the size of each batch.
    """

    def __init__(self, largest: int, on_batch: Callable[[int], object]) -> None:
        self.largest = largest
        self.on_batch = on_batch
        self.queue: asyncio.Queue[Waiting] = asyncio.Queue()

    async def predict(self, predict: Predict, pixels: np.ndarray) -> np.ndarray:
        """The probabilities of an image, float32 (classes,).

        Args:
            predict: of the model; only images of the same model are predicted together.
            pixels: uint8 (C, H, W).
        """
        future: asyncio.Future[np.ndarray] = asyncio.get_running_loop().create_future()
        self.queue.put_nowait((predict, pixels, future))
        return await future

    async def run(self) -> None:
        """Works until it is cancelled."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as thread:
            while True:
                batch = await self._next()
                if not batch:
                    continue
                predict = batch[0][0]
                self.on_batch(len(batch))
                try:
                    pixels = np.stack([image for _, image, _ in batch])
                    answers = await loop.run_in_executor(thread, predict, pixels)
                # whatever ONNX Runtime raises, or memory that ran out: these requests fail alone
                except Exception as error:
                    for _, _, future in batch:
                        if not future.done():
                            future.set_exception(error)
                    continue
                for (_, _, future), answer in zip(batch, answers, strict=True):
                    if not future.done():
                        future.set_result(answer)

    async def _next(self) -> list[Waiting]:
        """What is waiting, except for requests that were given up."""
        batch = [await self.queue.get()]
        while len(batch) < self.largest and not self.queue.empty():
            batch.append(self.queue.get_nowait())
        first = batch[0][0]
        for later in batch:
            if later[0] != first:
                self.queue.put_nowait(later)
        return [item for item in batch if item[0] == first and not item[2].done()]
