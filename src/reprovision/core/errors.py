"""The one exception that means: the user can fix this, and the message says how."""

import re

PASSWORDS = (
    # user:password@ in an address; a password may hold another @, or a / unless it is a port
    (re.compile(r"(://[^/\s:@]*):(?!\d+/)\S*@"), r"\1:***@"),
    # ?password=... of a database
    (re.compile(r"([?&]\w*(?:password|token|secret)\w*=)[^&\s]+", re.IGNORECASE), r"\1***"),
)


class UserError(ValueError):
    """A user's mistake or a missing file, in one sentence: what is wrong, where, what to do.

    Stages and commands print the sentence and exit with status 1. Every other exception is a bug
    of this package and keeps its stack trace.
    """


def is_out_of_memory(error: Exception) -> bool:
    """Whether an exception of Python, torch or the system means that memory ran out."""
    known = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    # torch on the CPU, and an OSError of mmap or fork
    return known or "allocate memory" in str(error)


def printable(text: str) -> str:
    """A text without control characters, by which a terminal can be misled."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def redact(text: str) -> str:
    """A text that can be printed and kept: passwords in addresses are replaced by stars."""
    for pattern, replacement in PASSWORDS:
        text = pattern.sub(replacement, text)
    return text
