"""Several processes for one training: started here, or by torchrun on each of several machines."""

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import torch
from torch import distributed
from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException, Std
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from reprovision.core.errors import UserError
from reprovision.models.workers import SINGLE, Workers

RESTARTS = 3
"""How often killed workers are started again."""

LATER = 10.0
"""Seconds that a worker with an error leaves to the launcher, which ends it where another one was
killed or has reported the error."""

LAUNCHER = "REPROVISION_LAUNCHER"
"""Process id of what starts the workers, for them."""

SHARED_STORE = "TORCHELASTIC_USE_AGENT_STORE"
"""Whether all restarts share one store, where the addresses of killed workers stay
(https://github.com/pytorch/pytorch/issues/135712)."""

WATCH = 0.2
"""Seconds between looks at whether the launcher still runs."""


def is_worker() -> bool:
    """Whether torchrun, or `launch`, started this process."""
    return distributed.is_torchelastic_launched()


def launch(processes: int, *arguments: str) -> None:
    """Runs Python with some arguments in so many workers on this machine, by torchrun's launcher.

    Where one is killed, all are started again, which resumes the training. A worker that fails has
    reported why and would fail again: all are stopped.

    Raises:
        UserError: workers were killed again and again.
        SystemExit: a worker failed, or this process was interrupted.
    """
    # torch's warnings repeat what is reported here
    logging.disable(logging.ERROR)
    os.environ[LAUNCHER] = str(os.getpid())
    for attempt in range(1 + RESTARTS):
        if attempt:
            print("a worker was killed: all of them start again", file=sys.stderr)
        with TemporaryDirectory() as logs:
            try:
                elastic_launch(_config(processes, logs), sys.executable)(*arguments)
                return
            except SignalException as error:
                sys.exit(128 + error.sigval)
            except ChildFailedError as error:
                failed = [one.local_rank for one in error.failures.values() if one.exitcode > 0]
            if failed:
                # the first writes to the terminal itself
                for log in Path(logs).rglob(f"{min(failed)}/stderr.log"):
                    print(log.read_text("utf-8", "replace"), end="", file=sys.stderr)
                sys.exit(1)
    raise UserError(
        f"workers were killed {1 + RESTARTS} times: use a lower train.processes, or a smaller "
        "train.batch_size or model, if the memory ran out"
    )


def _config(processes: int, logs: str) -> LaunchConfig:
    return LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(logs, dict.fromkeys(range(1, processes), Std.ALL)),
    )


@contextmanager
def connect(processes: int) -> Iterator[Workers]:
    """Connects this process to the other workers; a process that is none is a single one.

    Raises:
        UserError: torchrun started another number of workers than `train.processes`, or would
            restart them with the addresses of those that were killed; or the connection to another
            worker was lost.
    """
    if not is_worker():
        yield SINGLE
        return
    launcher = int(os.environ.get(LAUNCHER, os.getppid()))
    threading.Thread(target=_end_with_launcher, args=[launcher], daemon=True).start()
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    workers = Workers(*(int(os.environ[name]) for name in names))
    if workers.count != processes:
        raise UserError(
            f"torchrun started {workers.count} workers, and train.processes is {processes}: set "
            f"train.processes={workers.count}, because results depend on it"
        )
    if os.environ[SHARED_STORE] == "True" and os.environ["TORCHELASTIC_MAX_RESTARTS"] != "0":
        raise UserError(
            "restarted workers would look for those that were killed: give torchrun "
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in its environment, or --max-restarts=0"
        )
    if torch.cuda.is_available():
        torch.cuda.set_device(workers.local_rank % torch.cuda.device_count())
    try:
        distributed.init_process_group()
        yield workers
    except Exception as error:
        # gloo has no class of its own
        is_gloo = isinstance(error, RuntimeError) and "gloo" in str(error)
        is_lost = is_gloo or isinstance(error, distributed.DistError)
        # a lost connection is an effect of what another one reports, and the first reports first
        time.sleep(LATER * (is_lost + (not workers.is_first)))
        if is_lost:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"the workers can't reach each other ({reason}): see docs/distributed.md"
            ) from error
        raise
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


def _end_with_launcher(launcher: int) -> None:
    """Ends this process where its launcher was killed: nobody would wait for its outputs."""
    while os.getppid() == launcher:
        time.sleep(WATCH)
    os._exit(1)
