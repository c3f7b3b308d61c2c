"""Prepared tensors that were forged are refused in one sentence."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reprovision.core.errors import UserError
from reprovision.data.dataset import load_info, load_split


@pytest.fixture
def forge(prepared: Path, tmp_path: Path) -> Callable[..., Path]:
    """`forge(std=[0.0])`: a copy of prepared tensors with other values in dataset.json."""

    def forge(**changes: Any) -> Path:
        shutil.copytree(prepared, tmp_path / "forged")
        path = tmp_path / "forged" / "dataset.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))
        return tmp_path / "forged"

    return forge


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"std": [0.0]}, "std[0] is 0.0: must be above 0"),
        ({"std": [1.0, 1.0]}, "mean and std must have 1 values, one per channel"),
        ({"mean": []}, "mean is []"),
        ({"preprocessing": {"height": -8, "width": 8, "channels": 1}}, "height and width must be"),
        ({"splits": {}}, "splits must be train, val, test"),
        ({"classes": ["a", "b"]}, "counts must have 2 values, one per class"),
    ],
)
def test_a_forged_description_is_refused(
    forge: Callable[..., Path], changes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(UserError) as caught:
        load_info(forge(**changes))
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(-5, 1, 8, 8), (10**19, 1, 8, 8), (5, 1, 8)])
def test_a_forged_array_is_refused(forge: Callable[..., Path], shape: tuple[int, ...]) -> None:
    folder = forge()
    with (folder / "train" / "images.npy").open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(320))
    with pytest.raises(UserError, match=r"images\.npy is missing or damaged"):
        load_split(folder, "train")
