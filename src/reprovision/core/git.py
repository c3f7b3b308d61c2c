"""What Git says in the working directory."""

import subprocess

from reprovision.core.errors import UserError


def git(*arguments: str, stdin: bytes = b"") -> bytes:
    """The output of a Git command; raises a UserError where it fails."""
    done = subprocess.run(["git", *arguments], input=stdin, capture_output=True, check=False)
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        raise UserError(
            f"git {arguments[0]} failed ({reason[-1] if reason else 'without a word'}): "
            "run this in a Git repository with a commit"
        )
    return done.stdout


def git_text(*arguments: str) -> str:
    """The same as text, without blanks around it."""
    return git(*arguments).decode().strip()


def git_or_none(*arguments: str) -> bytes | None:
    """The output of a Git command; None where it fails."""
    try:
        return git(*arguments)
    except UserError:
        return None


def git_said(*arguments: str) -> str:
    """The output as text, without blanks around it; empty where the command fails."""
    return (git_or_none(*arguments) or b"").decode().strip()
