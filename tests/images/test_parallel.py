"""Work on many image files: the order of results, and which threads do it."""

import threading
from time import sleep

import pytest

from reprovision.images.parallel import BLOCK, map_images


@pytest.mark.parametrize("count", [0, 1, 10 * BLOCK + 1])
def test_results_come_in_the_order_of_the_items(count: int) -> None:
    assert list(map_images(lambda n: n * n, range(count))) == [n * n for n in range(count)]


def test_long_work_is_shared_by_threads_and_short_work_is_not() -> None:
    def work(seconds: float) -> int:
        sleep(seconds)
        return threading.get_ident()

    # what earlier work has taken decides
    items = [0.002] * 1024 + [0.0] * 1024
    seen = list(map_images(work, items))
    assert len(set(seen[:1024])) > 1
    assert set(seen[-100:]) == {threading.get_ident()}


def test_an_exception_reaches_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        list(map_images(lambda n: 1 / n, [1, 0]))
