"""The address of MLflow, `MLFLOW_TRACKING_URI`, apart from the user and password in it.

MLflow would print them with the address, and store them with what it refers to.
"""

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from mlflow.store.db.db_types import DATABASE_ENGINES
from sqlalchemy.engine import URL, make_url

from reprovision.core.errors import UserError
from reprovision.core.files import workspace
from reprovision.results.layout import mlflow_store

HOST_AND_PORT = re.compile(r"(?![\w+]+://)(\S*@)?[\w.-]+:\d+(/.*)?")
"""An address without `http://`."""

UNFIT = re.compile(r"(https?://.*[/?#]|[\w+]+://.*[\[\]]).*@", re.IGNORECASE | re.DOTALL)
"""An address that ends, for whoever reads it, within a password; a database's may hold a slash."""


def tracking_uri() -> str:
    """The address of the tracking server or store, with absolute paths.

    Without user and password of a server, see `set_credentials`.

    Raises:
        UserError: the password has characters that an address can't hold.
    """
    given = _given()
    if not given:
        return sqlite_uri(mlflow_store())
    parts = urlsplit(given)
    if parts.scheme.startswith("sqlite"):
        url = make_url(given)
        absolute = url.set(database=str(workspace() / (url.database or "")))
        return absolute.render_as_string(hide_password=False)
    if parts.scheme in ("http", "https"):
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    if parts.scheme == "file":
        return (workspace() / url2pathname(parts.path)).as_uri()
    return given if parts.scheme or given == "databricks" else (workspace() / given).as_uri()


def set_credentials() -> None:
    """Gives MLflow the user and password in a server's address as it expects them."""
    parts = urlsplit(_given())
    if parts.scheme in ("http", "https") and parts.username:
        os.environ["MLFLOW_TRACKING_USERNAME"] = unquote(parts.username)
        # may be in the variable, with only the user in the address
        if parts.password is not None:
            os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(parts.password)


def is_database(uri: str) -> bool:
    """Whether an address is that of a database, e.g. `sqlite:///mlflow.db`."""
    return urlsplit(uri).scheme.partition("+")[0] in DATABASE_ENGINES


def sqlite_uri(path: Path) -> str:
    """The address of an SQLite store."""
    return URL.create("sqlite", database=str(path)).render_as_string()


def _given() -> str:
    given = os.environ.get("MLFLOW_TRACKING_URI", "")
    if HOST_AND_PORT.fullmatch(given):
        given = f"http://{given}"
    if UNFIT.match(given):
        raise UserError(
            "the password in MLFLOW_TRACKING_URI has one of / ? # [ ] in it: write %2F %3F %23 %5B "
            "%5D for them, or set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead"
        )
    return given
