"""Where runs are logged: found from anywhere, created whole, its errors one sentence."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from project import ROOT

from reprovision.core.errors import UserError, redact
from reprovision.tracking.address import tracking_uri
from reprovision.tracking.store import open_store, ui_address


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A main workspace, with this process in another folder."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "main"))
    copy = tmp_path / "main" / ".dvc" / "tmp" / "exps" / "copy"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    return tmp_path / "main"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, "sqlite:///{root}/mlflow.db"),
        ("", "sqlite:///{root}/mlflow.db"),
        ("sqlite:///other.db", "sqlite:///{root}/other.db"),
        ("sqlite:///other.db?timeout=5", "sqlite:///{root}/other.db?timeout=5"),
        ("sqlite:////absolute/x.db", "sqlite:////absolute/x.db"),
        ("http://server:5000", "http://server:5000"),
        ("mlruns", "file://{root}/mlruns"),
        ("postgresql://u@host/db", "postgresql://u@host/db"),
        ("databricks", "databricks"),
        ("127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("server:5000/prefix", "http://server:5000/prefix"),
        ("file:mlruns", "file://{root}/mlruns"),
        ("file:///srv/mlruns", "file:///srv/mlruns"),
        ("https://alice:pw@server/x", "https://server/x"),
        ("alice:pw@server:5000", "http://server:5000"),
    ],
)
def test_relative_stores_are_in_the_main_workspace_wherever_dvc_runs_the_stage(
    root: Path, monkeypatch: pytest.MonkeyPatch, given: str | None, expected: str
) -> None:
    if given is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    assert tracking_uri() == expected.format(root=root)


def test_a_new_store_keeps_all_artifacts_in_the_main_workspace(root: Path) -> None:
    (root / ".reprovision" / "new-store-of-a-killed-process").mkdir(parents=True)
    with open_store("mine") as store:
        experiments = store.client.search_experiments()
    places = {experiment.name: experiment.artifact_location for experiment in experiments}
    assert set(places) == {"Default", "mine"}
    assert all(str(root) in place for place in places.values()), places
    assert list(Path().iterdir()) == [], "nothing is left in the temporary copy"
    assert not list((root / ".reprovision").glob("new-store-*"))


@pytest.mark.slow
def test_a_store_can_be_killed_while_it_is_created(root: Path) -> None:
    process = start_opening()
    while not list((root / ".reprovision").glob("new-store-*/*")):
        assert process.poll() is None, "the store was opened before it was killed"
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (root / "mlflow.db").exists()
    with open_store("mine"):
        pass
    assert not list((root / ".reprovision").glob("new-store-*"))


@pytest.mark.slow
def test_two_processes_can_create_a_store_at_once(root: Path) -> None:
    processes = [start_opening() for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    with open_store("mine") as store:
        assert len(store.client.search_experiments()) == 2


def start_opening() -> "subprocess.Popen[bytes]":
    """Starts a process that opens the store; it leads a group, with what it starts."""
    code = "from reprovision.tracking.store import open_store\nwith open_store('mine'): pass"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, start_new_session=True)


def test_a_path_with_special_characters_is_a_store(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    special = root / "50 % of #1?"
    special.mkdir()
    monkeypatch.setenv("DVC_ROOT", str(special))
    with open_store("mine"):
        pass
    with sqlite3.connect(special / "mlflow.db") as database:
        names = database.execute("SELECT name FROM experiments").fetchall()
    database.close()
    assert ("mine",) in names


def test_a_deleted_experiment_is_restored(root: Path) -> None:
    with open_store("mine") as store:
        store.client.delete_experiment(store.experiment_id)
    with open_store("mine") as store:
        assert store.client.get_experiment(store.experiment_id).lifecycle_stage == "active"


def test_the_address_of_the_runs_names_the_store_unless_it_is_the_default(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ui_address("7").startswith(
        "uv run mlflow ui, then http://127.0.0.1:5000/#/experiments/7/runs?"
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////srv/x y.db")
    assert "--backend-store-uri 'sqlite:////srv/x y.db'," in ui_address("7")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000/prefix/")
    assert ui_address("7").startswith("http://server:5000/prefix/#/experiments/7/runs?")


@pytest.mark.parametrize(
    "uri", ["foo://bar", "file:///srv/mlruns", "postgresql://u@localhost:9/db"]
)
def test_a_store_that_can_not_be_used_is_one_sentence(
    root: Path, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UserError, match="can't be used") as caught, open_store("x"):
        pass
    assert "\n" not in str(caught.value)
    assert uri in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://me:secret@localhost:9/db", "postgresql://me:***@localhost:9/db"),
        ("postgresql://me:sec@ret@localhost:9/db", "postgresql://me:***@localhost:9/db"),
        ("postgresql://me:sec/ret@localhost:9/db", "postgresql://me:***@localhost:9/db"),
        (
            "postgresql://localhost:9/db?user=me&password=secret",
            "localhost:9/db?user=me&password=***",
        ),
        ("http://me:secret@127.0.0.1:9", "http://127.0.0.1:9"),
        ("me:sec@ret@127.0.0.1:9", "http://127.0.0.1:9"),
    ],
)
def test_passwords_are_not_printed(
    root: Path, monkeypatch: pytest.MonkeyPatch, uri: str, shown: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError) as caught, open_store("x"):
        pass
    printed = f"{redact(str(caught.value))} {ui_address('7')}"
    assert shown in printed
    assert "sec" not in printed


@pytest.mark.parametrize(
    "uri",
    [
        *(f"http://me:sec{character}ret@127.0.0.1:9" for character in "/?#[]"),
        "https://me:sec/ret@127.0.0.1",
        "me:sec/ret@127.0.0.1:9",
        "postgresql://me:sec[ret@localhost:9/db",
    ],
)
def test_a_password_that_an_address_can_not_hold_is_refused_and_not_printed(
    root: Path, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UserError, match="write %2F") as caught:
        tracking_uri()
    assert "sec" not in str(caught.value)
    assert "ret" not in str(caught.value)


class Refusing(BaseHTTPRequestHandler):
    """A proxy in front of a server: it answers every request with the status of the test."""

    status = 0
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.headers.get("Authorization", ""))
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (401, "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"),
        (403, "ask for the right to write there"),
        (404, "check that MLFLOW_TRACKING_URI is the address of an MLflow server"),
        (500, "look into the log of the server"),
    ],
)
def test_a_server_that_refuses_is_not_called_away(
    root: Path, monkeypatch: pytest.MonkeyPatch, status: int, remedy: str
) -> None:
    monkeypatch.setattr(Refusing, "status", status)
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://ada:pass%20word@127.0.0.1:{server.server_port}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        with pytest.raises(UserError, match=remedy), open_store("x"):
            pass
        server.shutdown()
    assert Refusing.asked[-1] == f"Basic {b64encode(b'ada:pass word').decode()}"
