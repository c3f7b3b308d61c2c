"""How a stage starts and ends: its arguments are paths, its errors one sentence."""

import errno
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from textwrap import shorten

from filelock import FileLock, Timeout

from reprovision.core.errors import UserError, is_out_of_memory
from reprovision.core.memory import keep_freed_memory


def run_stage(main: Callable[..., None]) -> None:
    """Calls a stage with the command line's arguments; exits with 1 on a user's error."""

    def run() -> None:
        name, arguments = Path(sys.argv[0]).stem, sys.argv[1:]
        wanted = list(signature(main).parameters)
        if len(arguments) != len(wanted):
            raise UserError(f"usage: python -m stages.{name} {' '.join(wanted).upper()}")
        keep_freed_memory()
        with alone(name):
            main(*arguments)

    sys.exit(guard(run))


@contextmanager
def alone(stage: str) -> Iterator[None]:
    """Waits until no other process runs a stage in this folder.

    Who kills DVC alone leaves its stage running: the next one must not meet it among the outputs.
    """
    lock = FileLock(Path(".reprovision", "stages", stage).absolute())
    Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"waiting for another {stage}, still running in this folder", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def guard(action: Callable[[], int | None]) -> int:
    """Runs something; returns its exit status, having told a user's error in one sentence."""
    try:
        return action() or 0
    except UserError as error:
        return _fail(str(error))
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return _fail(NO_MEMORY)
    except OSError as error:
        if error.errno is None or error.errno == errno.EPIPE:
            raise
        return _fail(f"{error.filename or 'a file'}: {error.strerror}: {_remedy(error.errno)}")
    except KeyboardInterrupt:
        print("interrupted: run it again to go on", file=sys.stderr)
        return 130


NO_MEMORY = (
    "memory ran out: use a smaller batch_size, image_size, model or data.limit, "
    "or end other programs"
)


def _remedy(number: int) -> str:
    if number in (errno.ENOSPC, errno.EDQUOT):
        return "make room there, then run it again; earlier results are kept"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "allow writing there, then run it again; earlier results are kept"
    return "check the path, then run it again; earlier results are kept"


def _fail(sentence: str) -> int:
    # what a user's file holds may be quoted, and be of any length
    print(f"error: {shorten(sentence, 1500, placeholder=' ...')}", file=sys.stderr)
    return 1
