"""Device, threads and deterministic algorithms."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from project import tiny_params

from reprovision.core.errors import UserError
from reprovision.models.hardware import (
    choose_device,
    choose_precision,
    describe_numerics,
    require_compiler,
    set_deterministic,
    set_threads,
)

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def same_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_an_unavailable_device_is_refused() -> None:
    if torch.backends.mps.is_available():
        pytest.skip("this machine has MPS")
    with pytest.raises(UserError, match=r"train\.device is mps, which this machine does not have"):
        choose_device(tiny_params(**{"numerics": "native", "train.device": "mps"}))


def test_more_threads_than_processors_give_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    set_threads(tiny_params(**{"train.threads": 1000}))
    assert "warning: train.threads is 1000, but there are" in capsys.readouterr().err
    assert torch.get_num_threads() == 1000


NATIVE = tiny_params(numerics="native")
HARDWARE = {"device": "cpu", "precision": "float32", "threads": "1"}


def test_portable_numerics_leaves_nothing_to_the_machine() -> None:
    assert describe_numerics(tiny_params(), HARDWARE) == {"numerics": "portable"}
    assert choose_device(tiny_params()) == torch.device("cpu")
    assert choose_precision(tiny_params(**{"train.precision": "auto"}), CPU) == torch.float32


def test_where_a_gpu_is_left_idle_a_line_says_how_to_use_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device(tiny_params()) == CPU
    assert "numerics=native uses cuda" in capsys.readouterr().out


def test_native_numerics_names_what_decided_the_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MKL_CBWR", "AUTO")
    found = describe_numerics(NATIVE, HARDWARE)
    assert found.items() >= HARDWARE.items()
    assert found["MKL_CBWR"] == "AUTO"
    assert found["processor"] and found["kernels"]
    assert "avx2" in found["instructions"].split()


def test_native_numerics_may_use_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    params = tiny_params(numerics="native", **{"train.precision": "auto"})
    for able, expected in (({}, torch.float32), ({"avx512_bf16": True}, torch.bfloat16)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: able)
        assert choose_precision(params, CPU) == expected


def test_compiling_without_a_compiler_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"install g\+\+, or set train\.compile=false"):
        require_compiler(CPU)


def test_torch_fails_rather_than_computing_other_bytes() -> None:
    torch.use_deterministic_algorithms(False)
    set_deterministic(torch.device("cpu"))
    assert torch.get_deterministic_debug_mode() == 2
    assert not torch.utils.deterministic.fill_uninitialized_memory
    # the compiler, too
    assert sys.modules["torch._inductor"].config.deterministic
