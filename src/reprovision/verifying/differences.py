"""How two versions of a file differ, in lines for people: which tensor, row or key, and how far."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

SHOWN = 5
"""Lines about one file."""

Arrays = Mapping[str, np.ndarray]
Values = Mapping[str, Any]


def describe(name: str, old: Path, new: Path) -> list[str]:
    """Says how the contents of two files differ.

    Args:
        name: of the file; its suffix decides how the contents are read.
        old, new: the two versions, which are known to differ.
    """
    reader = READERS.get(PurePosixPath(name).suffix, _bytes)
    lines = list(reader(old, new)) or ["the same content, written as other bytes"]
    more = len(lines) - SHOWN
    return lines[:SHOWN] + ([f"and {more:,} more"] if more > 0 else [])


def _safetensors(old: Path, new: Path) -> Iterator[str]:
    from safetensors import safe_open

    def read(path: Path) -> tuple[Arrays, Values]:
        with safe_open(str(path), framework="pt") as file:
            # doubles hold the values of all other formats, also of those that numpy doesn't know
            arrays = {name: file.get_tensor(name).double().numpy() for name in file.keys()}  # noqa: SIM118
            headers = {k: _parsed(v) for k, v in (file.metadata() or {}).items()}
            return arrays, headers

    (old_arrays, old_header), (new_arrays, new_header) = read(old), read(new)
    yield from _compare_arrays(old_arrays, new_arrays)
    yield from _compare_values(old_header, new_header)


def _onnx(old: Path, new: Path) -> Iterator[str]:
    import onnx
    from onnx import numpy_helper

    def read(path: Path) -> tuple[Arrays, bytes]:
        model = onnx.load(str(path))
        arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        del model.graph.initializer[:]
        return arrays, model.SerializeToString(deterministic=True)

    (old_arrays, old_graph), (new_arrays, new_graph) = read(old), read(new)
    yield from _compare_arrays(old_arrays, new_arrays)
    if old_graph != new_graph:
        yield "the graph of operations differs"


def _npy(old: Path, new: Path) -> Iterator[str]:
    def read(path: Path) -> Arrays:
        return {"the array": np.load(path, mmap_mode="r", allow_pickle=False)}

    yield from _compare_arrays(read(old), read(new))


def _png(old: Path, new: Path) -> Iterator[str]:
    from PIL import Image

    def read(path: Path) -> Arrays:
        with Image.open(path, formats=["PNG"]) as picture:
            return {"the picture": np.asarray(picture.convert("RGBA"))}

    yield from _compare_arrays(read(old), read(new))


def _json(old: Path, new: Path) -> Iterator[str]:
    yield from _compare_values(_parsed(old.read_text("utf-8")), _parsed(new.read_text("utf-8")))


def _csv(old: Path, new: Path) -> Iterator[str]:
    def read(path: Path) -> list[list[str]]:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.reader(file))

    (header, *old_rows), (new_header, *new_rows) = read(old), read(new)
    if header != new_header:
        yield f"columns: {', '.join(header)} → {', '.join(new_header)}"
        return
    if len(old_rows) != len(new_rows):
        yield f"{len(old_rows):,} rows → {len(new_rows):,} rows"
    pairs = enumerate(zip(old_rows, new_rows, strict=False), start=1)
    differing = [(number, pair) for number, pair in pairs if pair[0] != pair[1]]
    if differing:
        yield f"{len(differing):,} of {len(old_rows):,} rows differ"
    for number, (before, after) in differing:
        cells = zip(header, before, after, strict=False)
        changed = [f"{column}: {a} → {b}" for column, a, b in cells if a != b]
        yield f"row {number}: {', '.join(changed)}"


def _text(old: Path, new: Path) -> Iterator[str]:
    lines = zip_longest(old.read_text("utf-8").splitlines(), new.read_text("utf-8").splitlines())
    for number, (before, after) in enumerate(lines, start=1):
        if before != after:
            yield f"line {number}: {before!r} → {after!r}"


def _bytes(old: Path, new: Path) -> Iterator[str]:
    before, after = old.read_bytes(), new.read_bytes()
    if len(before) != len(after):
        yield f"{len(before):,} bytes → {len(after):,} bytes"
    pairs = zip(before, after, strict=False)
    first = next((place for place, (a, b) in enumerate(pairs) if a != b), None)
    if first is not None:
        yield f"the first other byte is number {first:,}"


READERS: dict[str, Callable[[Path, Path], Iterator[str]]] = {
    ".safetensors": _safetensors,
    ".onnx": _onnx,
    ".npy": _npy,
    ".png": _png,
    ".json": _json,
    ".csv": _csv,
    ".md": _text,
    ".txt": _text,
}


def _compare_arrays(old: Arrays, new: Arrays) -> Iterator[str]:
    for name in sorted({*old, *new}):
        if name not in new or name not in old:
            yield f"{name} is only in the {'old' if name in old else 'new'} one"
            continue
        before, after = old[name], new[name]
        if (before.shape, before.dtype) != (after.shape, after.dtype):
            yield f"{name}: {before.dtype} {before.shape} → {after.dtype} {after.shape}"
        elif not np.array_equal(before, after, equal_nan=True):
            distance = np.abs(before.astype(np.float64) - after.astype(np.float64))
            yield (
                f"{name}: {np.count_nonzero(before != after):,} of {before.size:,} values differ, "
                f"by {distance.max():.3g} at most"
            )


def _compare_values(old: Any, new: Any, key: str = "") -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in {**old, **new}:
            inner = f"{key}.{name}" if key else str(name)
            yield from _compare_values(old.get(name), new.get(name), inner)
    elif old != new:
        yield f"{key}: {old} → {new}"


def _parsed(text: str) -> Any:
    """JSON's value, or the text itself where it isn't JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return text
