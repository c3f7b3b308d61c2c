"""The one exception that means: the user can mend this, and the message says how."""


class UserError(ValueError):
    """A user's mistake or a missing thing, told in one sentence: what, where, what to do.

    Stages and commands print the sentence and exit with status 1; every other exception is a
    fault of this program and keeps its stack trace.
    """


def is_out_of_memory(error: Exception) -> bool:
    """Whether an exception tells of missing memory; torch has none of its own for it on the CPU."""
    known = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return known or (isinstance(error, RuntimeError) and "allocate memory" in str(error))
