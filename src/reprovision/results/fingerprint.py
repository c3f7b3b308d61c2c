"""What a training and a pipeline run are known by: digests of all that their results depend on."""

import json
from typing import Any

from reprovision.core.files import digest_of
from reprovision.core.params import Params
from reprovision.core.yaml_files import flatten
from reprovision.data.dataset import DatasetInfo
from reprovision.results.layout import PIPELINE
from reprovision.results.lock import code_files


def training_key(params: Params, info: DatasetInfo) -> str:
    """Names the results of training: a digest of the params it reads, its data and its code."""
    sections = {name: getattr(params, name).model_dump(mode="json") for name in ("model", "train")}
    values = _json({"numerics": params.numerics, "seed": params.seed, **sections})
    return digest_of(values, info.digest.encode(), code_digest().encode())


def run_key(params: Params, training: str) -> str:
    """Names a whole pipeline run: a digest of all params and of the training key."""
    return digest_of(_json(flatten(params)), training.encode())


def code_digest() -> str:
    """Names the code that dvc.yaml lists for the train stage, with its contents."""
    files = code_files(PIPELINE, "train")
    return digest_of(*(str(file).encode() + file.read_bytes() for file in files))


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
