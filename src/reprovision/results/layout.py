"""Where everything lies: the outputs of the pipeline, and local state outside Git and DVC.

Output paths are relative to the project's folder, which is the working directory of every stage and
command; dvc.yaml names the same paths. Local state belongs to the main workspace, because DVC
deletes the temporary copies that it runs experiments in.
"""

from pathlib import Path

from reprovision.core.files import workspace

PARAMS = Path("params.yaml")
PIPELINE = Path("dvc.yaml")
LOCK = Path("dvc.lock")
REQUIREMENTS = Path("requirements.txt")

PREPARED = Path("data/prepared")
CHECKPOINT = Path("models/checkpoint.safetensors")
EXPORTED = Path("models/exported")
ONNX_MODEL = EXPORTED / "model.onnx"
INT8_MODEL = EXPORTED / "model.int8.onnx"
CARD = EXPORTED / "README.md"
PREPROCESSING = EXPORTED / "preprocessing.py"

RESULTS = Path("results")
FINDINGS = RESULTS / "findings.csv"
HISTORY = RESULTS / "history.csv"
TEST_METRICS = RESULTS / "test.json"
PREDICTIONS = RESULTS / "predictions.csv"
CLASS_METRICS = RESULTS / "classes.csv"
DATASET_SUMMARY = RESULTS / "dataset.json"
NUMERICS = RESULTS / "numerics.json"
EXPORT_REPORT = RESULTS / "export.json"
RECEIPT = RESULTS / "track.json"

IN_GIT = (TEST_METRICS, PREDICTIONS, CLASS_METRICS, DATASET_SUMMARY, NUMERICS, EXPORT_REPORT)
"""Outputs that Git keeps, so that two commits can be compared without a remote."""

PLOTS = RESULTS / "plots"
SAMPLES = PLOTS / "samples.png"
CONFUSION_MATRIX = PLOTS / "confusion_matrix.png"
DATASET = PLOTS / "dataset.png"
CURVES = PLOTS / "curves.png"
MISTAKES = PLOTS / "mistakes.png"
RECALL = PLOTS / "recall.png"
RELIABILITY = PLOTS / "reliability.png"


def downloads() -> Path:
    """Archives of datasets, in torchvision's layout."""
    return workspace() / "data" / "downloads"


def resume_folder() -> Path:
    """States of interrupted trainings, one folder per training key."""
    return workspace() / ".resume"


def state_folder() -> Path:
    """Locks, and how and where each run was trained."""
    return workspace() / ".reprovision"


def mlflow_store() -> Path:
    """The SQLite database of MLflow, where no other tracking URI is set."""
    return workspace() / "mlflow.db"


def mlflow_artifacts() -> Path:
    """The artifacts of that store."""
    return workspace() / "mlartifacts"
