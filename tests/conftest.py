"""Fixtures for tests in real projects: Git, DVC and MLflow on SQLite, with trainings of a moment.

    project       a new project, committed, in which nothing has run
    reproduced    a project in which `dvc repro` has run and dvc.lock is committed
    make_project  makes as many of either as a test needs
    swept         a project in which two experiments have run, too
    mlflow_server starts a real tracking server

and without DVC, in this process:

    prepared      the folder of tensors that prepare makes of the tiny params

See `project.py` for what a project can do: `run`, `repro`, `exp`, `refused`, `runs`, `outputs`, ...
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from filelock import FileLock

# the package under test is the one beside the tests, whatever is installed
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from reprovision.core.numerics import set_numerics

# as in the stages, before anything loads a library that computes
set_numerics("portable")

import project as projects  # noqa: E402
import servers  # noqa: E402
from project import ROOT, STRIPPED, Project, tiny_params  # noqa: E402
from servers import free_port  # noqa: E402

MNIST_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
MNIST_VARIABLE = os.environ.get("REPROVISION_MNIST")

# the same cases each time, and no limit on the time of one: other processes may be at work
hypothesis.settings.register_profile(
    "repeatable", derandomize=True, deadline=None, max_examples=50, database=None
)
hypothesis.settings.load_profile("repeatable")

for variable in [name for name in os.environ if name.startswith(STRIPPED)]:
    del os.environ[variable]
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

MakeProject = Callable[..., Project]
StartServer = Callable[..., str]


@pytest.fixture(autouse=True)
def clean_mlflow() -> Iterator[None]:
    """MLflow puts the store that it is told to use into the environment: no test inherits one."""
    yield
    os.environ.pop("MLFLOW_TRACKING_URI", None)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Most tests wait for processes: one worker more than processors keeps all of them busy."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A slow test gets half an hour: it must pass on a busy machine, too."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(1800))


def shared(
    tmp_path_factory: pytest.TempPathFactory, name: str, build: Callable[[Path], Project]
) -> Iterator[Project]:
    """A project that all workers of a test session share: the first that needs it builds it.

    Raises:
        AssertionError: at the end of the session, where a test has changed it.
    """
    in_worker = "PYTEST_XDIST_WORKER" in os.environ
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if in_worker else base) / name
    done = root.with_suffix(".json")
    with FileLock(root.with_suffix(".lock")):
        if not done.exists():
            project = build(root)
            status = project.git("status", "--porcelain")
            found = {"env": project.env, "output": project.first_output, "status": status}
            done.write_text(json.dumps(found))
    found = json.loads(done.read_text())
    project = Project(root, found["env"])
    project.first_output = found["output"]
    yield project
    status = project.git("status", "--porcelain")
    assert status == found["status"], f"a test has changed the shared project {name}"


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of all projects: see `clean_environment`."""
    return projects.clean_environment(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def blank_template(
    tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]
) -> Iterator[Project]:
    """A new project for others to be copied from; don't run anything in it."""
    yield from shared(tmp_path_factory, "blank", lambda root: projects.make(root, environment))


@pytest.fixture(scope="session")
def reproduced_template(
    tmp_path_factory: pytest.TempPathFactory, blank_template: Project
) -> Iterator[Project]:
    """A project after `dvc repro` and a commit, for others to be copied from and to look at.

    The first test that needs it waits for the pipeline; change nothing in it.
    """

    def build(root: Path) -> Project:
        project = projects.copy(blank_template, root)
        done = project.repro()
        project.first_output = done.stdout + done.stderr
        project.commit("results")
        return project

    yield from shared(tmp_path_factory, "reproduced", build)


@pytest.fixture(scope="session")
def swept_template(
    tmp_path_factory: pytest.TempPathFactory, reproduced_template: Project
) -> Iterator[Project]:
    """The reproduced project after a sweep, for others to be copied from and to look at.

    The commit (train.lr 0.02, seed 0) is version 1 in MLflow; the experiments `seed-1` and `bad`
    (train.lr 0.0001) are versions 2 and 3. The workspace holds the last.
    """

    def build(root: Path) -> Project:
        project = projects.copy(reproduced_template, root)
        project.exp("run", "--name", "seed-1", "-S", "seed=1")
        project.exp("run", "--name", "bad", "-S", "seed=0", "-S", "train.lr=0.0001")
        return project

    yield from shared(tmp_path_factory, "swept", build)


@pytest.fixture
def make_project(
    tmp_path: Path, blank_template: Project, request: pytest.FixtureRequest
) -> Iterator[MakeProject]:
    """`make_project(reproduced=False, **params)`: a project of the test's own.

    With `reproduced=True` it holds all results of the tiny params, in a tenth of a second. Params
    are dotted (`**{"train.lr": 0.1}`), changed after that and committed.
    """
    made: list[Project] = []

    def make(reproduced: bool = False, **params: Any) -> Project:
        template = request.getfixturevalue("reproduced_template") if reproduced else blank_template
        project = projects.copy(template, tmp_path / f"project-{len(made)}")
        made.append(project)
        if params:
            project.set_params(**params)
            project.commit("params")
        return project

    yield make
    for project in made:
        project.stop_queue()


@pytest.fixture
def project(make_project: MakeProject) -> Project:
    """A new project with tiny params, committed; nothing has run in it."""
    return make_project()


@pytest.fixture
def reproduced(make_project: MakeProject) -> Project:
    """A project of the test's own with all results, DVC's cache and one MLflow run in it."""
    return make_project(reproduced=True)


@pytest.fixture
def swept(tmp_path: Path, swept_template: Project) -> Project:
    """A project of the test's own after a sweep: see `swept_template`."""
    return projects.copy(swept_template, tmp_path / "swept")


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of prepared tensors: the digits as the tiny params have them; don't write there."""
    from reprovision.sources import open_source
    from reprovision.sources.prepare import prepare

    folder = tmp_path_factory.mktemp("prepared")
    prepare(open_source(ROOT / "data" / "digits.yaml", folder), tiny_params().data, folder)
    return folder


@pytest.fixture
def mlflow_server(tmp_path: Path, environment: dict[str, str]) -> Iterator[StartServer]:
    """`mlflow_server()` starts a real, empty tracking server and returns its address.

    `mlflow_server(folder, port)` starts it on a store of its own in a folder, at a known port, e.g.
    to bring a killed one back. All are killed after the test.
    """
    with ExitStack() as stack:

        def start(folder: Path | None = None, port: int | None = None) -> str:
            folder = folder or Path(tempfile.mkdtemp(prefix="server-", dir=tmp_path))
            folder.mkdir(exist_ok=True)
            port = port or free_port()
            stack.enter_context(servers.mlflow_on_sqlite(folder, port, environment))
            return f"http://127.0.0.1:{port}"

        yield start


@pytest.fixture(scope="session")
def mnist_archives() -> Path:
    """A folder with MNIST's four original archives; skips the test where there is none.

    They are looked for in `REPROVISION_MNIST`, and in `shared/data/mnist` beside the repository.
    """
    named = MNIST_VARIABLE
    for folder in [Path(named)] if named else [ROOT.parent / "shared" / "data" / "mnist"]:
        if all((folder / name).is_file() for name in MNIST_FILES):
            return folder
    pytest.skip(
        "MNIST's four archives are not here: name their folder in REPROVISION_MNIST, "
        f"or put them into {ROOT.parent / 'shared' / 'data' / 'mnist'}"
    )
