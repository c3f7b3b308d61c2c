"""How two versions of a file differ, in lines for people: which tensor, row or key, how much."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from reprovision.core.yaml_files import leaves

SHOWN = 5
"""Lines about one file."""

Content = Mapping[str, Any]
"""What a file holds by names: arrays and plain values."""


def describe(name: str, old: Path, new: Path) -> list[str]:
    """Describes how the contents of two files differ.

    Args:
        name: of the file; its suffix decides how the contents are read.
        old, new: the two versions, which are known to differ.
    """
    read = READERS.get(PurePosixPath(name).suffix, _bytes)
    lines = list(_compare(read(old), read(new))) or ["equal content in other bytes"]
    more = len(lines) - SHOWN
    return lines[:SHOWN] + ([f"and {more:,} more"] if more > 0 else [])


def _compare(old: Content, new: Content) -> Iterator[str]:
    for name in {**old, **new}:
        if name not in new or name not in old:
            yield f"{name} is only in the {'old' if name in old else 'new'} one"
            continue
        before, after = old[name], new[name]
        if not isinstance(before, np.ndarray) or not isinstance(after, np.ndarray):
            if before != after:
                yield f"{name}: {before} → {after}"
        elif (before.shape, before.dtype) != (after.shape, after.dtype):
            yield f"{name}: {before.dtype} {before.shape} → {after.dtype} {after.shape}"
        elif not np.array_equal(before, after, equal_nan=True):
            differ = (before != after) & ~(np.isnan(before) & np.isnan(after))
            # as doubles: the difference of two bytes may be negative
            distance = np.abs(before[differ].astype(np.float64) - after[differ])
            yield (
                f"{name}: {len(distance):,} of {before.size:,} values differ, "
                f"by {distance.max():.3g} at most"
            )


def _safetensors(path: Path) -> Content:
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:
        # doubles hold the values of all other formats, also of those that numpy lacks
        tensors = {name: file.get_tensor(name).double().numpy() for name in file.keys()}  # noqa: SIM118
        header = {name: json.loads(text) for name, text in (file.metadata() or {}).items()}
    return {**tensors, **dict(leaves("", header))}


def _onnx(path: Path) -> Content:
    import onnx

    model = onnx.load(str(path))
    arrays = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    del model.graph.initializer[:]
    graph = np.frombuffer(model.SerializeToString(deterministic=True), np.uint8)
    return {**arrays, "the graph": graph}


def _npy(path: Path) -> Content:
    return {"the array": np.load(path, mmap_mode="r", allow_pickle=False)}


def _png(path: Path) -> Content:
    from PIL import Image

    with Image.open(path, formats=["PNG"]) as picture:
        return {"the picture": np.asarray(picture.convert("RGBA"))}


def _json(path: Path) -> Content:
    return dict(leaves("", json.loads(path.read_text("utf-8"))))


def _csv(path: Path) -> Content:
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        return {
            f"row {i}, {key}": cell for i, row in enumerate(rows, 1) for key, cell in row.items()
        }


def _text(path: Path) -> Content:
    return {f"line {i}": line for i, line in enumerate(path.read_text("utf-8").splitlines(), 1)}


def _bytes(path: Path) -> Content:
    return {"the file": np.fromfile(path, np.uint8)}


READERS: dict[str, Callable[[Path], Content]] = {
    ".safetensors": _safetensors,
    ".onnx": _onnx,
    ".npy": _npy,
    ".png": _png,
    ".json": _json,
    ".csv": _csv,
    ".md": _text,
    ".txt": _text,
}
