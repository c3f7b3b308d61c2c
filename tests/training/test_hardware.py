"""Device, threads and deterministic algorithms."""

import sys
from collections.abc import Iterator

import pytest
import torch
from project import tiny_params

from reprovision.core.errors import UserError
from reprovision.training.hardware import choose_device, set_deterministic, set_threads


@pytest.fixture(autouse=True)
def same_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_an_unavailable_device_is_refused() -> None:
    if torch.backends.mps.is_available():
        pytest.skip("this machine has MPS")
    with pytest.raises(UserError, match=r"train\.device is mps, which this machine does not have"):
        choose_device(tiny_params(**{"train.device": "mps"}).train)


def test_more_threads_than_processors_give_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    set_threads(tiny_params(**{"train.threads": 1000}).train)
    assert "warning: train.threads is 1000, but there are" in capsys.readouterr().err
    assert torch.get_num_threads() == 1000


def test_torch_fails_rather_than_computing_other_bytes() -> None:
    torch.use_deterministic_algorithms(False)
    set_deterministic(torch.device("cpu"))
    assert torch.get_deterministic_debug_mode() == 2
    assert not torch.utils.deterministic.fill_uninitialized_memory
    # the compiler, too
    assert sys.modules["torch._inductor"].config.deterministic
