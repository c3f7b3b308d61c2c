"""Where runs are logged: at `MLFLOW_TRACKING_URI`, or in SQLite in the main workspace.

Relative paths are resolved against the main workspace: DVC deletes the temporary copies that it
runs experiments in, and a store in one of them would be deleted with it.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import shorten
from urllib.parse import urlencode, urljoin, urlsplit

import mlflow
from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from requests import RequestException
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from reprovision.core.errors import UserError, redact
from reprovision.core.files import workspace, write_bytes
from reprovision.results.layout import mlflow_artifacts, mlflow_store, state_folder
from reprovision.tracking.address import is_database, set_credentials, sqlite_uri, tracking_uri

LOCK_SECONDS = 120

LOG_AGAIN = "run `uv run dvc repro` or `uv run reprovision sync`; all results are kept"
TRY_AGAIN = "try again"
"""What to do when MLflow can be used again: after runs were to be logged, or only read."""

KEY_TAG = "reprovision.key"
CHECKPOINT_TAG = "reprovision.checkpoint"
CODE_TAG = "reprovision.code"
TEST_SET_TAG = "reprovision.test_set"
EXPERIMENT_TAG = "dvc.experiment"
DESCRIPTION_TAG = "mlflow.note.content"

EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",
    DESCRIPTION_TAG: "One run per change of params. Select some and press *Compare*.",
}


REMEDIES = (
    ("No module named 'psycopg'", "install the driver with `uv sync --extra postgres`"),
    ("No module named 'boto3'", "install it with `uv sync --extra s3`"),
    ("No module named", "install the driver of this database, or set MLFLOW_TRACKING_URI"),
    ("database is locked", "end the process that has locked it"),
    (
        r"error code 401|UNAUTHENTICATED",
        "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to those of your account there",
    ),
    (
        r"password authentication failed|no password supplied",
        "set PGPASSWORD to the password of this user",
    ),
    (
        "Unable to locate credentials|InvalidAccessKeyId|SignatureDoesNotMatch",
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    ),
    (
        r"error code 403|PERMISSION_DENIED|permission denied|AccessDenied",
        "ask for the right to write there",
    ),
    ("alias .* not found", "see `uv run reprovision promote`, which sets the alias champion"),
    (r"INVALID_PARAMETER_VALUE", "change what it names in params.yaml"),
    (
        r"RESOURCE_DOES_NOT_EXIST|error code 404",
        "check that MLFLOW_TRACKING_URI is the address of an MLflow server, and that what it names "
        "was not deleted there",
    ),
    (
        r"error code 500|too many 500",
        "look into the log of the server, which may not reach its database or its artifacts",
    ),
    (r"RESOURCE_ALREADY_EXISTS|IntegrityError|UNIQUE constraint", "let other processes finish"),
)
"""What to do by a pattern in MLflow's error code or message."""


S3_ERRORS = (
    ("botocore.exceptions", "BotoCoreError"),
    ("botocore.exceptions", "ClientError"),
    ("boto3.exceptions", "Boto3Error"),
)
"""Modules and names of what boto3 raises."""


@dataclass(frozen=True)
class Store:
    """An open tracking store: a client, and the experiment that runs belong to."""

    client: MlflowClient
    experiment_id: str

    def find(self, key: str, checkpoint: str | None = None) -> Run | None:
        """The newest run of this key; one with another checkpoint does not count."""
        runs = self.client.search_runs(
            [self.experiment_id], f"tags.`{KEY_TAG}` = '{key}'", order_by=["start_time DESC"]
        )
        for run in runs:
            if checkpoint in (None, run.data.tags.get(CHECKPOINT_TAG, checkpoint)):
                return run
        return None


@contextmanager
def open_store(experiment: str, purpose: str = "all", then: str = LOG_AGAIN) -> Iterator[Store]:
    """Opens the tracking store, creating store and experiment where they are missing.

    Args:
        purpose: a run's key, or what else two processes must not do at once. The block holds a
            lock of the main workspace for it; with SQLite one for all purposes, because only one
            process can write there.
        then: what to do when the store can be used again.

    Raises:
        UserError: the store can't be used, within a bounded time.
    """
    uri = tracking_uri()
    is_sqlite = urlsplit(uri).scheme.startswith("sqlite")
    lock = state_folder() / ("mlflow.lock" if is_sqlite else f"mlflow-{purpose}.lock")
    lock.parent.mkdir(exist_ok=True)
    try:
        with FileLock(lock, LOCK_SECONDS), translate_errors(then):
            if is_sqlite:
                _create_if_missing(Path(make_url(uri).database or ""), then)
            elif is_database(uri):
                _require_connection(uri)
            set_credentials()
            mlflow.set_tracking_uri(uri)
            client = MlflowClient(uri)
            yield Store(client, _find_or_create_experiment(client, experiment, uri))
    except Timeout:
        raise UserError(
            f"another process has held the MLflow store for {LOCK_SECONDS} s: end it, then {then}"
        ) from None


def ui_address(experiment_id: str) -> str:
    """How to see charts of an experiment's training runs, the best test accuracy first.

    The query is what MLflow puts into the address bar after these choices. Without it, it opens its
    pages for language models, sorted by time, with a table whose metrics a laptop does not show.
    """
    choices = {
        "workflowType": "machine_learning",
        "orderByKey": "metrics.`test_accuracy`",
        "orderByAsc": "false",
        "compareRunsMode": "CHART",
    }
    page = f"#/experiments/{experiment_id}/runs?{urlencode(choices)}"
    uri = redact(tracking_uri())
    if uri.startswith("http"):
        return urljoin(f"{uri.rstrip('/')}/", page)
    is_default = uri == sqlite_uri(mlflow_store())
    options = "" if is_default else f" --backend-store-uri {shlex.quote(uri)}"
    return f"uv run mlflow ui{options}, then {urljoin('http://127.0.0.1:5000/', page)}"


@contextmanager
def translate_errors(then: str = LOG_AGAIN) -> Iterator[None]:
    """Raises a UserError of one sentence where MLflow raises because its store can't be used.

    Args:
        then: what to do when the store can be used again.
    """
    try:
        yield
    except _errors() as error:
        uri = tracking_uri()
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        short = shorten(redact(reason), 250, placeholder=" ...")
        raise UserError(
            f"MLflow at {redact(uri)} can't be used ({short}): {_remedy(error, uri)}, then {then}"
        ) from error


def _errors() -> tuple[type[Exception], ...]:
    """What MLflow raises, and the libraries that it calls."""
    # where artifacts are on S3 without a server between, and boto3 is installed
    of_s3 = [getattr(sys.modules[m], name) for m, name in S3_ERRORS if m in sys.modules]
    # artifacts are uploaded by requests directly; a database may need a driver that is missing
    return MlflowException, SQLAlchemyError, RequestException, ModuleNotFoundError, *of_s3


def _remedy(error: Exception, uri: str) -> str:
    text = f"{getattr(error, 'error_code', '')} {error}"
    if "database schema" in text:
        command = f"uv run mlflow db upgrade {shlex.quote(redact(uri))}"
        return f"another version of MLflow created this store, back it up and run `{command}`"
    found = (remedy for pattern, remedy in REMEDIES if re.search(pattern, text))
    return next(found, "start the server or set MLFLOW_TRACKING_URI")


def _require_connection(uri: str) -> None:
    """Raises an SQLAlchemyError where a database refuses: MLflow would ask it for 100 seconds."""
    engine = create_engine(uri)
    try:
        engine.connect().close()
    finally:
        engine.dispose()


def _create_if_missing(path: Path, then: str) -> None:
    """Creates an SQLite store, whole or not at all: MLflow can't resume interrupted migrations.

    MLflow does so when it first opens the store: in a process of its own, which closes the database
    when it ends, and in the main workspace, because the default experiment's artifacts belong to
    its working directory.
    """
    if path.exists():
        return
    # of killed processes: only the holder of the lock creates a store
    for abandoned in state_folder().glob("new-store-*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    with TemporaryDirectory(prefix="new-store-", dir=state_folder()) as folder:
        new = Path(folder, path.name)
        done = subprocess.run(
            [sys.executable, "-c", "import mlflow; mlflow.MlflowClient().search_experiments()"],
            cwd=workspace(),
            env={**os.environ, "MLFLOW_TRACKING_URI": sqlite_uri(new)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            reason = (done.stderr.splitlines() or ["no reason given"])[-1]
            raise UserError(f"MLflow can't create {path} ({reason}): mend that, then {then}")
        write_bytes(path, new.read_bytes())


def _find_or_create_experiment(client: MlflowClient, name: str, uri: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, _artifacts(uri), tags=EXPERIMENT_TAGS))
        except MlflowException:
            # another process may have just created it
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _artifacts(uri: str) -> str | None:
    """Where the artifacts of a new experiment belong: a server chooses the place itself."""
    if uri.startswith(("http", "databricks")):
        return None
    place = mlflow_artifacts().as_uri()
    if not uri.startswith(("sqlite", "file")):
        print(
            f"warning: {redact(uri)} is shared, but artifacts are kept on this machine, in "
            f"{place}: use an MLflow server in front of the database",
            file=sys.stderr,
        )
    return place
