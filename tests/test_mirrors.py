"""docs/mirrors.md: what uv does behind a mirror of PyPI, and that the commands there help."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import BinaryIO

import pytest
from project import ROOT

pytestmark = pytest.mark.skipif(not shutil.which("uv"), reason="needs uv")

PAGE = (ROOT / "docs" / "mirrors.md").read_text("utf-8")
SETTINGS = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[0]
COMMANDS = next(
    block
    for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    if "UV_EXCLUDE_NEWER" in block
)
"""The commands for a mirror without upload times."""

ADDRESS = "https://mirror.example/simple"
"""The mirror in the page's commands."""

UPLOADED = {"1.0": "2026-01-01T00:00:00Z", "2.0": "2026-09-01T00:00:00Z"}
"""The versions of `digit` on the mirror: before the project's date, and after it."""

PROJECT = """
[project]
name = "toy"
version = "0"
requires-python = ">=3.11"
dependencies = ["digit"]

[build-system]
requires = ["uv_build"]
build-backend = "uv_build"

[tool.uv]
exclude-newer = "2026-06-01T00:00:00Z"
"""

SHOW_VERSION = "uv run python -c 'import digit; print(digit.version)'"
"""In place of `uv run dvc repro`."""

Run = Callable[..., subprocess.CompletedProcess[str]]


def wheel(folder: Path, version: str) -> Path:
    """A wheel of `digit` that knows its version and needs nothing."""
    file = folder / f"digit-{version}-py3-none-any.whl"
    info = f"digit-{version}.dist-info"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("digit.py", f"version = {version!r}\n")
        metadata = f"Metadata-Version: 2.1\nName: digit\nVersion: {version}\n"
        archive.writestr(f"{info}/METADATA", metadata)
        tags = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr(f"{info}/WHEEL", tags)
        archive.writestr(f"{info}/RECORD", "")
    return file


class Mirror(SimpleHTTPRequestHandler):
    """Serves a folder; the page of `digit` in HTML, or in JSON where the folder has it."""

    def send_head(self) -> BytesIO | BinaryIO | None:
        if self.path == "/simple/digit/" and Path(self.directory, "simple/digit/v1.json").exists():
            self.path += "v1.json"
        return super().send_head()

    def guess_type(self, path: str | os.PathLike[str]) -> str:
        json_page = str(path).endswith(".json")
        return "application/vnd.pypi.simple.v1+json" if json_page else super().guess_type(path)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[str]:
    """The address of an index with both versions of `digit`, without upload times."""
    page = tmp_path / "mirror" / "simple" / "digit"
    page.mkdir(parents=True)
    files = [wheel(page, version) for version in UPLOADED]
    page.joinpath("index.html").write_text("".join(f"<a href={f.name}>{f.name}</a>" for f in files))
    handler = partial(Mirror, directory=str(tmp_path / "mirror"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/simple"
        server.shutdown()


def report_upload_times(page: Path) -> None:
    """The page of `digit` in JSON."""
    files = [
        {"filename": f"digit-{v}-py3-none-any.whl", "hashes": {}, "upload-time": uploaded}
        for v, uploaded in UPLOADED.items()
    ]
    tree = {
        "meta": {"api-version": "1.1"},
        "name": "digit",
        "files": [{"url": file["filename"], **file} for file in files],
    }
    page.joinpath("v1.json").write_text(json.dumps(tree))


@pytest.fixture
def run(tmp_path: Path, mirror: str) -> Run:
    """Runs shell commands in a project that needs `digit`; the mirror is the default index.

    All of uv's state is in the test's folder: no command reaches an environment outside.
    """
    project = tmp_path / "project"
    (project / "src" / "toy").mkdir(parents=True)
    (project / "src" / "toy" / "__init__.py").touch()
    (project / "pyproject.toml").write_text(PROJECT)
    file = tmp_path / "mirror/simple/digit/digit-1.0-py3-none-any.whl"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    (project / "requirements.txt").write_text(f"digit==1.0 \\\n    --hash=sha256:{digest}\n")
    foreign = ("UV_", "PIP_", "VIRTUAL_ENV", "CONDA_", "XDG_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    env |= {"HOME": str(tmp_path), "UV_CACHE_DIR": str(tmp_path / "cache"), "NO_PROXY": "*"}
    env |= {"UV_DEFAULT_INDEX": mirror, "UV_NO_SYSTEM_CONFIG": "1", "NO_COLOR": "1"}

    def run(commands: str, **changed: str) -> subprocess.CompletedProcess[str]:
        script = f"set -e\n{commands.replace(ADDRESS, mirror)}"
        return subprocess.run(
            ["bash", "-c", script],
            cwd=project,
            env=env | changed,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def documented() -> str:
    """The page's commands, up to the pipeline."""
    assert COMMANDS.endswith("\nuv run dvc repro\n")
    return COMMANDS.replace("uv run dvc repro", SHOW_VERSION)


def assert_nothing_found(done: subprocess.CompletedProcess[str]) -> None:
    """uv stopped with the messages that the page quotes."""
    assert done.returncode != 0
    for message in ("is missing an upload date", "No solution found when resolving dependencies"):
        assert message in done.stderr and f"`{message}`" in PAGE


def test_without_upload_times_uv_finds_nothing(run: Run) -> None:
    assert_nothing_found(run(SHOW_VERSION))


def test_a_date_in_the_far_future_does_not_help(run: Run) -> None:
    assert_nothing_found(run(SHOW_VERSION, UV_EXCLUDE_NEWER="2099-01-01"))


def test_a_user_s_settings_do_not_help(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "uv"
    folder.mkdir(parents=True)
    (folder / "uv.toml").write_text("exclude-newer = false\n")
    assert_nothing_found(run(SHOW_VERSION))


def test_the_documented_commands_install_the_pinned_versions(run: Run) -> None:
    done = run(documented())
    assert done.stdout == "1.0\n", done.stderr


def test_they_help_after_a_failure_that_left_an_environment(run: Run, tmp_path: Path) -> None:
    assert run(SHOW_VERSION).returncode != 0 and (tmp_path / "project" / ".venv").exists()
    assert run(documented()).stdout == "1.0\n"


def test_they_refuse_a_file_that_is_not_the_pinned_one(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "mirror/simple/digit/digit-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("extra.py", "")
    done = run(documented())
    assert done.returncode != 0 and "Hash mismatch for `digit==1.0`" in done.stderr


def test_without_the_date_a_sync_takes_the_newest_versions(run: Run) -> None:
    assert run(SHOW_VERSION, UV_EXCLUDE_NEWER="false").stdout == "2.0\n"


def test_with_upload_times_the_address_is_enough(run: Run, tmp_path: Path) -> None:
    report_upload_times(tmp_path / "mirror" / "simple" / "digit")
    assert run(SHOW_VERSION).stdout == "1.0\n"


def test_the_address_can_stand_in_a_user_s_settings(run: Run, mirror: str, tmp_path: Path) -> None:
    report_upload_times(tmp_path / "mirror" / "simple" / "digit")
    folder = tmp_path / ".config" / "uv"
    folder.mkdir(parents=True)
    (folder / "uv.toml").write_text(SETTINGS.replace(ADDRESS, mirror))
    assert run(f"unset UV_DEFAULT_INDEX\n{SHOW_VERSION}").stdout == "1.0\n"
