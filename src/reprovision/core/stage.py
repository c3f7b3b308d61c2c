"""How a stage starts and ends: its arguments are paths, its errors one sentence."""

import errno
import sys
from collections.abc import Callable

from reprovision.core.errors import UserError


def run_stage(main: Callable[..., None]) -> None:
    """Calls a stage with the command line's arguments; exits with 1 on a user's error."""
    sys.exit(guard(lambda: main(*sys.argv[1:])))


def guard(action: Callable[[], None]) -> int:
    """Runs something; returns its exit status, having told a user's error in one sentence."""
    try:
        action()
    except UserError as error:
        return _fail(str(error))
    except MemoryError:
        return _fail("memory ran out: use a smaller batch_size, image_size or data.limit")
    except OSError as error:
        if error.errno is None or error.errno == errno.EPIPE:
            raise
        where = error.filename or "a file"
        return _fail(f"{where}: {error.strerror}: make room or give access, then run it again")
    return 0


def _fail(sentence: str) -> int:
    print(f"error: {' '.join(sentence.split())}", file=sys.stderr)
    return 1
