"""How a stage or command ends: its exit status, and one sentence for what the user can fix."""

import errno
import os
import subprocess
import sys

import pytest
from project import ROOT

from reprovision.core.errors import UserError, redact
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
        # where only the packages of the service are installed
        (ModuleNotFoundError(name="scipy.stats"), "this needs the package scipy, which is not"),
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


def test_a_password_and_control_characters_are_not_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def action() -> int:
        raise UserError("http://ada:secret@server has the class \x1b]52;c;x\x07")

    assert handle_errors(action) == 1
    message = capsys.readouterr().err
    assert "http://ada:***@server" in message
    assert message.strip().isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("x://ada:se/cr@et@server:5/a", "x://ada:***@server:5/a"),
        ("x://ada:1234@server", "x://ada:***@server"),
        ("x://server:5000/a@b", "x://server:5000/a@b"),
        ("x://server:5000 of ada@example.org", "x://server:5000 of ada@example.org"),
    ],
)
def test_of_an_address_only_the_password_is_replaced(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_a_console_without_a_character_is_no_error() -> None:
    code = "from reprovision.core.stage import handle_errors as h; h(lambda: print('a \u2192 b'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONIOENCODING": "cp1252", "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("a ? b\n", "")


def test_a_bug_keeps_its_stack_trace() -> None:
    def action() -> int:
        raise RuntimeError("of our own")

    with pytest.raises(RuntimeError, match="of our own"):
        handle_errors(action)


def test_a_missing_module_of_our_own_is_a_bug() -> None:
    def action() -> int:
        raise ModuleNotFoundError(name="reprovision.nothing")

    with pytest.raises(ModuleNotFoundError):
        handle_errors(action)
