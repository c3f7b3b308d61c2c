"""Git commands in the working directory, or in another repository."""

import os
import re
import subprocess
from pathlib import Path

from reprovision.core.errors import UserError

ABSENT = re.compile(
    "not a git repository|does not have any commits|unknown revision|bad revision"
    "|invalid object name|not a valid object name|does not exist in|exists on disk, but not in",
    re.IGNORECASE,
)
"""What Git says where there is no repository, no such revision or no such file in it."""


def git(*arguments: str, stdin: bytes = b"", folder: Path | None = None) -> bytes:
    """The output of a Git command.

    Args:
        folder: of another repository. What Git tells its hooks about their own repository then
            does not reach the command.

    Raises:
        UserError: the command fails, with Git's reason.
    """
    done = _run(arguments, stdin, folder)
    if done.returncode:
        raise _failure(arguments, done)
    return done.stdout


def git_or_none(*arguments: str) -> bytes | None:
    """The output of a Git command; None without a repository, or without what it asks for.

    Raises:
        UserError: the command fails for another reason, e.g. because the repository is another
            user's.
    """
    done = _run(arguments)
    if not done.returncode:
        return done.stdout
    # `--quiet` says no more than that
    if not done.stderr or ABSENT.search(_message(done)):
        return None
    raise _failure(arguments, done)


def git_text(*arguments: str, folder: Path | None = None) -> str:
    """The output as stripped text; raises a UserError if the command fails."""
    return git(*arguments, folder=folder).decode().strip()


def git_text_or_empty(*arguments: str) -> str:
    """The output as stripped text; empty where `git_or_none` is None."""
    return (git_or_none(*arguments) or b"").decode().strip()


def _run(
    arguments: tuple[str, ...], stdin: bytes = b"", folder: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    own = {k: v for k, v in os.environ.items() if not (folder and k.startswith("GIT_"))}
    try:
        return subprocess.run(
            ["git", "-c", "i18n.logOutputEncoding=UTF-8", *arguments],
            input=stdin,
            capture_output=True,
            check=False,
            cwd=folder,
            # its messages are compared with `ABSENT`
            env=own | {"LC_ALL": "C.UTF-8"},
        )
    except FileNotFoundError:
        raise UserError("there is no git on the PATH: install Git") from None


def _failure(arguments: tuple[str, ...], done: subprocess.CompletedProcess[bytes]) -> UserError:
    message = _message(done)
    advice = ": run this in a Git repository with a commit" if ABSENT.search(message) else ""
    return UserError(f"git {arguments[0]} failed ({message}){advice}")


def _message(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
    # advice follows below
    return next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[-1])
