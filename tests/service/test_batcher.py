"""Images of many requests, predicted together."""

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from reprovision.service.batcher import Batcher


def mean(pixels: np.ndarray) -> np.ndarray:
    return pixels.mean((1, 2, 3))[:, None]


def work(use: Callable[[Batcher], Awaitable[None]]) -> None:
    """Runs a test while a batcher works."""

    async def run() -> None:
        batcher = Batcher(4, lambda size: None)
        task = asyncio.create_task(batcher.run())
        try:
            await asyncio.wait_for(use(batcher), 10)
        finally:
            task.cancel()

    asyncio.run(run())


def test_a_batch_that_memory_does_not_suffice_for_is_the_only_one_that_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(arrays: list[np.ndarray]) -> np.ndarray:
        raise MemoryError

    async def use(batcher: Batcher) -> None:
        image = np.full((1, 2, 2), 3, np.uint8)
        with monkeypatch.context() as patch:
            patch.setattr(np, "stack", fail)
            with pytest.raises(MemoryError):
                await batcher.predict(mean, image)
        assert (await batcher.predict(mean, image)).tolist() == [3]

    work(use)


def test_images_of_two_models_are_predicted_apart() -> None:
    async def use(batcher: Batcher) -> None:
        images = [np.full((1, 2, 2), level, np.uint8) for level in range(6)]
        models = [mean, lambda pixels: -mean(pixels)]
        asked = [batcher.predict(models[n % 2], image) for n, image in enumerate(images)]
        answers = [float(answer[0]) for answer in await asyncio.gather(*asked)]
        assert answers == [0, -1, 2, -3, 4, -5]

    work(use)
