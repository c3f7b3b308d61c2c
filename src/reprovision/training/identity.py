"""What a training run is known by: digests of all that its results depend on."""

import json
from pathlib import Path
from typing import Any

import yaml

from reprovision.core.files import digest_of
from reprovision.core.params import Params, flatten
from reprovision.data.dataset import DatasetInfo


def training_key(params: Params, info: DatasetInfo) -> str:
    """Names the results of training: the params it reads, its data and its code."""
    read = {section: getattr(params, section) for section in ("model", "train")}
    values = {name: section.model_dump(mode="json") for name, section in read.items()}
    code = code_digest().encode()
    return digest_of(_json({"seed": params.seed, **values}), info.digest.encode(), code)


def run_key(params: Params, training: str) -> str:
    """Names a whole pipeline run: all params, and what training is known by."""
    return digest_of(_json(flatten(params)), training.encode())


def code_digest() -> str:
    """Names the code that dvc.yaml lists for the train stage, with its contents."""
    deps = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]["train"]["deps"]
    code = [Path(dep) for dep in deps if not dep.startswith("data/")]
    files = {f for path in code for f in ([path] if path.is_file() else path.rglob("*.py"))}
    return digest_of(*(str(f).encode() + f.read_bytes() for f in sorted(files)))


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
