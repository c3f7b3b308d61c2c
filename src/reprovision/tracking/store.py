"""Where runs are written: `MLFLOW_TRACKING_URI`, or SQLite in the main workspace.

Every path is resolved against the main workspace: DVC deletes the temporary copies it runs
experiments in, and a store inside one would vanish with it.
"""

import logging
import os
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from reprovision.core.errors import UserError
from reprovision.core.files import workspace
from reprovision.tracking.page import experiment_tags

# a server that hangs is given up after about 20 seconds, unless the user has set these otherwise;
# mlflow reads them when it is imported
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
# the files are small, and the track stage itself tells where the run is
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
# nobody should be told of anybody's runs
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from requests import RequestException
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

LOCK_SECONDS = 120
KEY_TAG = "reprovision.key"
CHECKPOINT_TAG = "reprovision.checkpoint"
CODE_TAG = "reprovision.code"
TEST_SET_TAG = "reprovision.test_set"
DESCRIPTION_TAG = "mlflow.note.content"

# what they tell of their progress would bury our own lines; what goes wrong they raise
logging.getLogger("alembic").setLevel(logging.WARNING)
logging.getLogger("mlflow").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Store:
    """An open tracking store.

    Attributes:
        client: connected to it.
        experiment_id: of the experiment that runs go to.
    """

    client: MlflowClient
    experiment_id: str

    def find(self, key: str, checkpoint: str | None = None) -> Run | None:
        """The newest run with this key whose checkpoint, where it has one, is the given one."""
        runs = self.client.search_runs(
            [self.experiment_id], f"tags.`{KEY_TAG}` = '{key}'", order_by=["start_time DESC"]
        )
        fitting = (
            r for r in runs if checkpoint in (None, r.data.tags.get(CHECKPOINT_TAG, checkpoint))
        )
        return next(fitting, None)

    def create(self, key: str, name: str, tags: dict[str, str]) -> Run:
        """A new run that can be found by its key."""
        return self.client.create_run(
            self.experiment_id, run_name=name, tags={**tags, KEY_TAG: key}
        )


def tracking_uri() -> str:
    """The address of the tracking server or store, with absolute paths."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    scheme, found, rest = uri.partition(":///")
    if found and scheme.startswith("sqlite") and not Path(rest).is_absolute():
        return f"{scheme}:///{workspace() / rest}"
    if "://" not in uri and uri != "databricks":
        return (workspace() / uri).as_uri()
    return uri


def ui_command(page: str) -> str:
    """How to see a page in a browser.

    Args:
        page: its address below that of the server.
    """
    uri = tracking_uri()
    if uri.startswith("http"):
        return f"{uri.rstrip('/')}/{page}"
    own = uri == f"sqlite:///{workspace() / 'mlflow.db'}"
    command = "uv run mlflow ui" + ("" if own else f" --backend-store-uri {uri}")
    return f"{command}, then http://127.0.0.1:5000/{page}"


@contextmanager
def open_store(experiment: str) -> Iterator[Store]:
    """Opens the tracking store, making store and experiment at first use.

    The block runs under a lock of the main workspace: two processes that set up a new SQLite store
    at once would both migrate it and leave it corrupt, and two that look for the same run would
    both create it.

    Raises:
        UserError: the store can't be reached, within a bounded time.
    """
    uri = tracking_uri()
    folder = workspace() / ".reprovision"
    folder.mkdir(exist_ok=True)
    try:
        with FileLock(folder / "mlflow.lock", timeout=LOCK_SECONDS), reaching(uri):
            _set_up(uri)
            mlflow.set_tracking_uri(uri)
            client = MlflowClient(uri)
            yield Store(client, _experiment_id(client, experiment, uri))
    except Timeout:
        raise UserError(
            f"another process has held the MLflow store for {LOCK_SECONDS} s: end it, then run "
            "`uv run dvc repro` again"
        ) from None


def _set_up(uri: str) -> None:
    """Makes a new SQLite store, whole or not at all.

    MLflow makes its tables in dozens of migrations that it can't take up again: a store left in
    the middle of them by a killed process would stay useless.
    """
    if not uri.startswith("sqlite"):
        return
    path = Path(make_url(uri).database or "")
    if path.exists():
        return
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    new = SqlAlchemyStore(f"sqlite:///{partial}", _local_artifacts())
    new.engine.dispose()
    partial.replace(path)


def _local_artifacts() -> str:
    return (workspace() / "mlartifacts").as_uri()


@contextmanager
def reaching(uri: str) -> Iterator[None]:
    """Turns what MLflow raises when its store is away into one sentence."""
    try:
        yield
    # files go to a server by requests alone; a database may need a driver that isn't there
    except (MlflowException, SQLAlchemyError, RequestException, ModuleNotFoundError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"MLflow at {uri} can't be used ({textwrap.shorten(reason, 250, placeholder=' ...')}): "
            f"{_remedy(reason, uri)}, then run `uv run dvc repro` or `uv run reprovision sync`; "
            "nothing else is lost"
        ) from error


def _remedy(reason: str, uri: str) -> str:
    if "database schema" in reason:
        return (
            "another version of MLflow made this store, back it up and run "
            f"`uv run mlflow db upgrade {uri}`"
        )
    if "database is locked" in reason:
        return "end the process that holds it"
    if "No module named" in reason:
        return "install the driver of this database, or set MLFLOW_TRACKING_URI"
    return "start the server or set MLFLOW_TRACKING_URI"


def _experiment_id(client: MlflowClient, name: str, uri: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        # a server knows where its artifacts go; a local store would take the working directory
        local = None if uri.startswith("http") else _local_artifacts()
        experiment_id: str = client.create_experiment(name, local, tags=experiment_tags())
        return experiment_id
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)
