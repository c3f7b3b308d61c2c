"""Git commands in the working directory."""

import subprocess

from reprovision.core.errors import UserError


def git(*arguments: str, stdin: bytes = b"") -> bytes:
    """The output of a Git command; raises a UserError if it fails."""
    done = subprocess.run(["git", *arguments], input=stdin, capture_output=True, check=False)
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise UserError(
            f"git {arguments[0]} failed ({reason[-1]}): run this in a Git repository with a commit"
        )
    return done.stdout


def git_or_none(*arguments: str) -> bytes | None:
    """The output of a Git command; None if it fails."""
    try:
        return git(*arguments)
    except UserError:
        return None


def git_text(*arguments: str) -> str:
    """The output as stripped text; raises a UserError if the command fails."""
    return git(*arguments).decode().strip()


def git_text_or_empty(*arguments: str) -> str:
    """The output as stripped text; empty if the command fails."""
    return (git_or_none(*arguments) or b"").decode().strip()
