"""A real project to test in: a temporary repository under Git and DVC, and ways to work in it."""

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from reprovision.core.numerics import FAMILIES

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from reprovision.core.params import Params

ROOT = Path(__file__).resolve().parent.parent
"""The repository under test."""

TINY: dict[str, Any] = {
    "data.limit": 300,
    "data.val_fraction": 0.1,
    "model.name": "cnn",
    "model.hidden": [32],
    "model.dropout": 0.0,
    "model.conv.channels": [4],
    "model.conv.kernel_size": 3,
    "model.conv.layers_per_stage": 1,
    "model.conv.batch_norm": False,
    "train.epochs": 2,
    "train.batch_size": 20,
    "train.optimizer": "adamw",
    "train.lr": 0.02,
    "train.ema": 0.0,
    "train.augment.shift": 0.0,
    "train.augment.rotate": 0.0,
    "train.augment.scale": 0.0,
    "train.augment.shear": 0.0,
    "train.augment.flip": False,
    "train.keep": "best",
    "train.threads": 1,
    "train.precision": "fp32",
}
"""Params of every project here, where a test doesn't ask for others: a training of a moment.

About 270 images train, 30 validate and 300 test the network, which gets about three in four right.
"""

STRIPPED = ("AWS_", "DVC_", "MLFLOW_", "GIT_", "PG", "REPROVISION_")
"""Variables of these names belong to the caller and never reach a project."""

NOT_INHERITED = (*STRIPPED, *FAMILIES)
"""Those of this process, which computes as with portable numerics, don't reach one either."""


HOSTILE = {
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "ONEDNN_DEFAULT_FPMATH_MODE": "BF16",
    "DNNL_MAX_CPU_ISA": "SSE41",
    "MKL_CBWR": "AUTO",
    "MKL_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OMP_DYNAMIC": "true",
    "OMP_THREAD_LIMIT": "1",
    "GOMP_SPINCOUNT": "1",
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4",
    "OPENBLAS_CORETYPE": "Nehalem",
    "OPENBLAS_NUM_THREADS": "3",
}
"""What a user may have set; each would change bytes, or the time to wait for them."""


def clean_environment(home: Path) -> dict[str, str]:
    """The environment of commands in a project: this interpreter's tools, nobody's settings.

    Args:
        home: an empty folder for what DVC keeps outside repositories.
    """
    kept = {k: v for k, v in os.environ.items() if not k.startswith(NOT_INHERITED)}
    # `python` and `dvc` are those of the running interpreter
    kept["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    (home / "global").mkdir(parents=True, exist_ok=True)
    (home / "global" / "config").write_text("[core]\nanalytics = false\ncheck_update = false\n")
    return kept | {
        "DVC_GLOBAL_CONFIG_DIR": str(home / "global"),
        "DVC_SYSTEM_CONFIG_DIR": str(home / "system"),
        "DVC_SITE_CACHE_DIR": str(home / "site"),
        "DVC_NO_ANALYTICS": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "COLUMNS": "120",
    }


class Project:
    """A repository of its own.

    Attributes:
        root: its folder.
        env: the environment of its commands; a test may add to it, e.g. MLFLOW_TRACKING_URI.
        output: of the `dvc repro` that made the results, stdout first; empty where nothing has run.
    """

    def __init__(self, root: Path, env: Mapping[str, str]) -> None:
        self.root = root
        self.env = dict(env)
        self.first_output = ""

    # ---- running things

    def run(
        self, *command: str, check: bool = True, timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command in the project's folder; returns what it output on stdout and stderr.

        Args:
            check: fail the test, showing the output, where the command fails.
            timeout: in seconds.
        """
        done = subprocess.run(
            command,
            cwd=self.root,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(
                f"{' '.join(command)} exited with {done.returncode}:\n{done.stdout}\n{done.stderr}"
            )
        return done

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Starts a command in a process group of its own, so that all of it can be killed."""
        return subprocess.Popen(
            command,
            cwd=self.root,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # a shell that runs the tests in the background lets them ignore Ctrl-C, and so would
            # their children
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )

    def refused(self, *command: str) -> str:
        """The one sentence with which a command refuses to go on.

        Fails the test where the command succeeds, shows a stack trace, or says more than one error.
        """
        done = self.run(*command, check=False)
        output = done.stdout + done.stderr
        assert done.returncode != 0, f"{' '.join(command)} succeeded:\n{output}"
        assert "Traceback" not in output, output
        errors = [line for line in output.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, output
        return errors[0].removeprefix("error: ")

    def repro(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`dvc repro`."""
        return self.run("dvc", "repro", *arguments, check=check)

    def exp(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`dvc exp ...`, e.g. `exp("run", "-S", "train.lr=0.01")`."""
        return self.run("dvc", "exp", *arguments, check=check)

    def stage(self, name: str) -> tuple[str, ...]:
        """The command of a stage as dvc.yaml has it, without DVC around it."""
        stages = yaml.safe_load((self.root / "dvc.yaml").read_text())["stages"]
        return tuple(stages[name]["cmd"].split())

    def run_queue(self, workers: int, timeout: float = 300) -> None:
        """Runs all queued experiments and waits until the workers have finished them."""
        # its workers keep open what they write to, and one that is idle may never end
        command = ("dvc", "queue", "start", "-j", str(workers))
        null = subprocess.DEVNULL
        subprocess.run(command, cwd=self.root, env=self.env, stdout=null, stderr=null, check=True)
        deadline = time.monotonic() + timeout
        while self._queue_is_busy():
            assert time.monotonic() < deadline, self.run("dvc", "queue", "status").stdout
            # each look takes a second of processor time
            time.sleep(3)

    def stop_queue(self) -> None:
        """Kills workers that a failed test has left."""
        if (self.root / ".dvc" / "tmp" / "exps" / "celery").is_dir():
            self.run("dvc", "queue", "stop", "--kill", check=False)

    def _queue_is_busy(self) -> bool:
        status = self.run("dvc", "queue", "status").stdout
        return any(word in status for word in ("Queued", "Running"))

    # ---- Git and files

    def git(self, *arguments: str) -> str:
        """The output of `git ...`."""
        return self.run("git", *arguments).stdout.strip()

    def commit(self, message: str = "change") -> str:
        """Commits everything that Git does not ignore; returns the commit."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")

    def clone(self, root: Path, origin: Path | None = None) -> "Project":
        """What a colleague gets: the last commit, without caches and results outside Git.

        Args:
            origin: the repository to clone, by default that of the project.
        """
        self.git("clone", "--quiet", str(origin or self.root), str(root))
        clone = Project(root, self.env)
        clone.introduce_author()
        return clone

    def introduce_author(self) -> None:
        """Names an author of commits."""
        self.git("config", "user.name", "Ada")
        self.git("config", "user.email", "ada@example.org")

    def params(self) -> dict[str, Any]:
        """params.yaml as it is now."""
        tree: dict[str, Any] = yaml.safe_load((self.root / "params.yaml").read_text())
        return tree

    def set_params(self, **changes: Any) -> None:
        """Changes params.yaml: `set_params(**{"train.lr": 0.1})`."""
        tree = changed(self.params(), changes)
        (self.root / "params.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))

    def outputs(self) -> dict[str, str]:
        """The SHA-256 of every file that the pipeline makes, and of dvc.lock, by path.

        A file that isn't there is left out.
        """
        stages = yaml.safe_load((self.root / "dvc.yaml").read_text())["stages"].values()
        outs = [next(iter(o)) if isinstance(o, dict) else o for s in stages for o in s["outs"]]
        found: dict[str, str] = {}
        for path in [self.root / out for out in [*outs, "dvc.lock"]]:
            for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                if file.is_file():
                    name = file.relative_to(self.root).as_posix()
                    found[name] = hashlib.sha256(file.read_bytes()).hexdigest()
        return found

    def json(self, path: str) -> Any:
        """The content of a JSON file."""
        return json.loads((self.root / path).read_text(encoding="utf-8"))

    # ---- MLflow

    @property
    def store(self) -> str:
        """The address of the project's own MLflow store."""
        return self.env.get("MLFLOW_TRACKING_URI", f"sqlite:///{self.root / 'mlflow.db'}")

    def mlflow(self) -> "MlflowClient":
        """A client of the project's store."""
        from mlflow import MlflowClient

        return MlflowClient(self.store)

    def runs(self) -> "list[Run]":
        """All MLflow runs, the newest first; the store need not exist yet."""
        if "MLFLOW_TRACKING_URI" not in self.env and not (self.root / "mlflow.db").exists():
            return []
        client = self.mlflow()
        experiments = [e.experiment_id for e in client.search_experiments()]
        return list(client.search_runs(experiments, order_by=["start_time DESC"]))

    def metric(self, run: "Run", name: str) -> list[tuple[int, float]]:
        """The steps and values of a metric, in the order they were written."""
        history = self.mlflow().get_metric_history(run.info.run_id, name)
        return [(metric.step, metric.value) for metric in history]


def changed(tree: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The tree of params with other values under some dotted keys."""
    tree = deepcopy(tree)
    for key, value in changes.items():
        *parents, last = key.split(".")
        section = tree
        for parent in parents:
            section = section[parent]
        section[last] = value
    return tree


def tiny_tree(**changes: Any) -> dict[str, Any]:
    """The repository's params.yaml with tiny params and other changes, unchecked."""
    tree = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    return changed(tree, TINY | changes)


def tiny_params(**changes: Any) -> "Params":
    """The same, checked: `tiny_params(**{"train.lr": 0.1})`."""
    from reprovision.core.params import Params
    from reprovision.core.yaml_files import parse_section

    return parse_section(Params, tiny_tree(**changes), "params")


def listed_files(env: Mapping[str, str]) -> list[str]:
    """The repository's files as they are now, without those that Git ignores."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=ROOT,
        env=dict(env),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    # a file may be listed and deleted already
    return [name for name in listed.rstrip("\0").split("\0") if (ROOT / name).is_file()]


def make(root: Path, env: Mapping[str, str]) -> Project:
    """A new project: the repository's files as they are now, with tiny params, committed.

    Nothing that the pipeline makes is there, and neither is dvc.lock.
    """
    for name in listed_files(env):
        if not (name == "dvc.lock" or name.startswith(("results/", "models/"))):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, root / name)
    project = Project(root, env)
    project.git("init", "--quiet", "--initial-branch=main")
    project.introduce_author()
    project.set_params(**TINY)
    project.commit("start")
    return project


def copy(original: Project, root: Path) -> Project:
    """A copy with everything: results, DVC's cache, MLflow's store, all as if made in it."""
    shutil.copytree(original.root, root, symlinks=True, dirs_exist_ok=True)
    if (root / "mlflow.db").exists():
        _relocate(root / "mlflow.db", str(original.root), str(root))
    project = Project(root, original.env)
    project.first_output = original.first_output
    return project


def _relocate(database: Path, old: str, new: str) -> None:
    """Rewrites the absolute paths in an MLflow store."""
    with sqlite3.connect(database) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (table,) in tables.fetchall():
            for _, column, kind, *_ in connection.execute(f'PRAGMA table_info("{table}")'):
                if "CHAR" in kind.upper() or "TEXT" in kind.upper():
                    connection.execute(
                        f'UPDATE "{table}" SET "{column}" = replace("{column}", ?, ?) '
                        f'WHERE instr("{column}", ?)',
                        (old, new, old),
                    )
    connection.close()
