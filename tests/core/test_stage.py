"""How a stage or command ends: its exit status, and one sentence for what the user can fix."""

import errno

import pytest

from reprovision.core.errors import UserError
from reprovision.core.stage import OUT_OF_MEMORY, handle_errors


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (UserError("train.lr is -1: use a number above 0"), "train.lr is -1: use a number above 0"),
        (MemoryError(), OUT_OF_MEMORY),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), OUT_OF_MEMORY),
        # of fork and mmap
        (OSError(errno.ENOMEM, "Cannot allocate memory"), OUT_OF_MEMORY),
        (OSError(errno.ENOSPC, "No space left on device", "x.csv"), "x.csv: No space left on"),
    ],
)
def test_an_error_that_the_user_can_fix_is_one_sentence(
    error: Exception, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def action() -> int:
        raise error

    assert handle_errors(action) == 1
    message = capsys.readouterr().err
    assert message.startswith(f"error: {sentence}")
    assert message.count("\n") == 1


def test_a_bug_keeps_its_stack_trace() -> None:
    def action() -> int:
        raise RuntimeError("of our own")

    with pytest.raises(RuntimeError, match="of our own"):
        handle_errors(action)
