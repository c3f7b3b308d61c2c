"""What is known only while training runs: its wall time and its machine.

Neither may go into an output, which has the same bytes on every machine. The train stage notes
them in `.reprovision/notes/` of the main workspace, outside Git and DVC, and track passes them on
to MLflow. A run that DVC restored from its cache was not trained here and has no note.
"""

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path

from reprovision.core.files import newest_first, workspace, write_json

KEPT = 200
PACKAGES = ("torch", "torchvision", "numpy", "onnx", "onnxruntime", "mlflow", "dvc")


def write_note(key: str, seconds: float, hardware: dict[str, str]) -> None:
    """Notes how a run was trained; the oldest notes beyond KEPT are forgotten."""
    folder = _folder()
    environment = describe_environment() | hardware
    write_json(folder / f"{key}.json", {"train_seconds": seconds, "environment": environment})
    for old in newest_first(folder.glob("*.json"))[KEPT:]:
        old.unlink(missing_ok=True)


def read_note(key: str) -> tuple[float | None, dict[str, str]]:
    """The wall time of a run's training loop in seconds, and its environment."""
    try:
        note = json.loads((_folder() / f"{key}.json").read_text(encoding="utf-8"))
        return float(note["train_seconds"]), dict(note["environment"])
    except (OSError, ValueError, KeyError, TypeError):
        return None, {}


def describe_environment() -> dict[str, str]:
    """Machine and package versions."""
    found = {package: version(package) for package in PACKAGES}
    return found | {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cpu_count": str(os.cpu_count()),
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _folder() -> Path:
    return workspace() / ".reprovision" / "notes"
