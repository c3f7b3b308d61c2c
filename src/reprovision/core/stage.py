"""Runs a stage or a command: one instance at a time, and errors are one sentence."""

import errno
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from textwrap import shorten

from reprovision.core.errors import UserError, is_out_of_memory, printable, redact
from reprovision.core.memory import keep_freed_memory

OUT_OF_MEMORY = (
    "memory ran out: use a smaller batch_size, image_size, model or data.limit, "
    "or close other programs"
)

REMEDIES = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "free some space there",
    errno.EACCES: "allow access to it",
    errno.EPERM: "allow access to it",
    errno.EROFS: "make it writable",
}


def run_stage(main: Callable[[], None]) -> None:
    """Runs a stage's `main`; exits with status 1 on a user's error."""

    def run() -> None:
        keep_freed_memory()
        # torchrun starts one per rank
        rank = os.environ.get("LOCAL_RANK")
        stage = Path(sys.argv[0]).stem
        with single_instance(stage if rank is None else f"{stage}-{rank}"):
            main()

    sys.exit(handle_errors(run))


@contextmanager
def single_instance(stage: str) -> Iterator[None]:
    """Waits until no other process runs this stage in this folder.

    Killing DVC leaves its stage running: the next run must not write the same outputs meanwhile.
    """
    # a tenth of all that `reprovision predict` imports, which needs no lock
    from filelock import FileLock, Timeout

    path = Path(".reprovision", "stages", stage).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"waiting for another {stage} process in this folder to end", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def handle_errors(action: Callable[[], int | None]) -> int:
    """Runs an action and returns its exit status; a user's error is printed as one sentence."""
    for stream in (sys.stdout, sys.stderr):
        # a console that lacks a character shows a question mark
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    # on images that are odd, but readable
    warnings.filterwarnings("ignore", module="PIL")
    try:
        return action() or 0
    except UserError as error:
        return _fail(str(error))
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "reprovision"):
            raise
        return _fail(
            f"this needs the package {package}, which is not installed here: run it in the "
            "project's whole environment (`uv sync`)"
        )
    except (MemoryError, RuntimeError, OSError) as error:
        if is_out_of_memory(error):
            return _fail(OUT_OF_MEMORY)
        if not isinstance(error, OSError) or error.errno in (None, errno.EPIPE):
            raise
        remedy = REMEDIES.get(error.errno, "check the path")
        where = error.filename or "a file"
        return _fail(
            f"{where}: {error.strerror}: {remedy}, then run it again; earlier results are kept"
        )
    except KeyboardInterrupt:
        print("interrupted: run it again to resume", file=sys.stderr)
        return 130


def _fail(sentence: str) -> int:
    # the sentence may quote a user's file, at any length
    shown = shorten(printable(redact(sentence)), 1500, placeholder=" ...")
    print(f"error: {shown}", file=sys.stderr)
    return 1
