"""What is known only while a model is trained: the machine, and how long and when.

None of it may go into an output, which has the same bytes on every machine. The train stage saves
it in the main workspace, outside Git and DVC, and the track stage logs it to MLflow. A run that DVC
restored from its cache was trained elsewhere, and has none.
"""

import os
import platform
from importlib.metadata import version
from pathlib import Path

from pydantic import ValidationError

from reprovision.core.files import newest_first, write_json
from reprovision.core.yaml_files import Section
from reprovision.results.layout import state_folder

KEPT = 200
PACKAGES = ("torch", "torchvision", "numpy", "onnx", "onnxruntime", "mlflow", "dvc")


class TrainingEnvironment(Section):
    """How a run was trained.

    Attributes:
        train_seconds: wall time of the training loop.
        epoch_times: end of each epoch by its number, in milliseconds since 1970; epochs before an
            interruption are missing.
        environment: machine, device and package versions.
    """

    train_seconds: float
    epoch_times: dict[int, int]
    environment: dict[str, str]


def save_environment(
    key: str, seconds: float, epoch_times: dict[int, int], hardware: dict[str, str]
) -> None:
    """Saves how the run of a key was trained; deletes the oldest files beyond `KEPT`."""
    found = TrainingEnvironment(
        train_seconds=seconds,
        epoch_times=epoch_times,
        environment=describe_environment() | hardware,
    )
    write_json(_path(key), found.model_dump())
    for old in newest_first(_path(key).parent.glob("*.json"))[KEPT:]:
        old.unlink(missing_ok=True)


def load_environment(key: str) -> TrainingEnvironment | None:
    """How the run of a key was trained on this machine; None where that is unknown."""
    try:
        return TrainingEnvironment.model_validate_json(_path(key).read_bytes())
    except (OSError, ValidationError):
        return None


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


def _path(key: str) -> Path:
    return state_folder() / "environment" / f"{key}.json"
