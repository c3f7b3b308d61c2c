"""What is known only where a model is made: the machine, how long and when, its rounding errors.

None of it may go into an output, which has the same bytes on every machine. Train and export save
it in the main workspace, outside Git and DVC, and track logs it to MLflow. A run that DVC restored
from its cache was made elsewhere, and has none.
"""

import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from pydantic import ValidationError

from reprovision.core.files import newest_first, write_json
from reprovision.core.yaml_files import Model, Section
from reprovision.results.layout import state_folder

KEPT = 200
PACKAGES = ("torch", "torchvision", "numpy", "onnx", "onnxruntime", "mlflow", "dvc")


class TrainingEnvironment(Section):
    """How a run was trained.

    Attributes:
        began: start of the training loop, in milliseconds since 1970; after an interruption, of its
            last part.
        train_seconds: wall time of the training loop.
        epoch_times: end of each epoch by its number, in milliseconds since 1970; epochs before an
            interruption are missing.
        environment: machine, device and package versions.
    """

    began: int
    train_seconds: float
    epoch_times: dict[int, int]
    environment: dict[str, str]

    @property
    def ended(self) -> int:
        """End of the training loop, in milliseconds since 1970; not before that of an epoch."""
        # the loop begins a little later than `began`
        ended = self.began + round(1000 * self.train_seconds)
        return max(ended, *self.epoch_times.values()) if self.epoch_times else ended


class ExportCheck(Section):
    """How the exported model did on the machine that exported it.

    Attributes:
        max_difference: largest difference in any probability from PyTorch's over the test images.
        ms_fp32, ms_int8: median time of one image on one thread, where there is an int8 model.
    """

    max_difference: float
    ms_fp32: float | None = None
    ms_int8: float | None = None


def save_environment(
    checkpoint: str,
    began: int,
    seconds: float,
    epoch_times: dict[int, int],
    hardware: Mapping[str, str],
) -> None:
    """Saves how a checkpoint, by its digest, was trained: the same params may give several."""
    found = TrainingEnvironment(
        began=began,
        train_seconds=seconds,
        epoch_times=epoch_times,
        environment=describe_environment() | dict(hardware),
    )
    _save(_path("environment", checkpoint), found)


def load_environment(checkpoint: str) -> TrainingEnvironment | None:
    """How a checkpoint, by its digest, was trained on this machine; None where that is unknown."""
    return _load(TrainingEnvironment, _path("environment", checkpoint))


def save_export_check(checkpoint: str, found: ExportCheck) -> None:
    """Saves how the exported model of a checkpoint, by its digest, did."""
    _save(_path("export", checkpoint), found)


def load_export_check(checkpoint: str) -> ExportCheck | None:
    """How the exported model of a checkpoint did; None where that is unknown."""
    return _load(ExportCheck, _path("export", checkpoint))


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


def _path(kind: str, name: str) -> Path:
    return state_folder() / kind / f"{name}.json"


def _save(path: Path, content: Section) -> None:
    """Writes a file; deletes the oldest of its folder beyond `KEPT`."""
    write_json(path, content.model_dump())
    for old in newest_first(path.parent.glob("*.json"))[KEPT:]:
        old.unlink(missing_ok=True)


def _load(kind: type[Model], path: Path) -> Model | None:
    try:
        return kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
