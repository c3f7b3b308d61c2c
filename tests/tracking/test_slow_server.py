"""A server that takes its time: several experiments at once do not wait for each other."""

import http.client
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from conftest import MakeProject, StartServer

DELAY = 0.8
"""Seconds that each request takes."""


@pytest.fixture
def slow_server(mlflow_server: StartServer) -> Iterator[str]:
    """A real tracking server behind a slow connection."""
    target = urlsplit(mlflow_server()).netloc

    class Handler(BaseHTTPRequestHandler):
        def forward(self) -> None:
            time.sleep(DELAY)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            connection = http.client.HTTPConnection(target, timeout=60)
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            connection.close()

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{proxy.server_port}"
    proxy.shutdown()


@pytest.mark.slow
def test_four_experiments_at_once_all_log_their_runs(
    make_project: MakeProject, slow_server: str
) -> None:
    project = make_project()
    project.env["MLFLOW_TRACKING_URI"] = slow_server
    project.exp("run", "--queue", "-S", "seed=0,1,2,3")
    project.run_queue(4, timeout=900)
    assert project.run("dvc", "queue", "status").stdout.count("Success") == 4
    runs = project.runs()
    assert sorted(run.data.params["seed"] for run in runs) == ["0", "1", "2", "3"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len(project.mlflow().search_model_versions("name = 'digits'")) == 4
