"""Data sets of any size: random images of 28x28 pixels in IDX files."""

import gzip
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import yaml

SIDE, CLASSES, TEST = 28, 10, 1000
CHUNK = 10_000


def write(images: int, folder: str) -> dict[str, float]:
    """Writes archives and a descriptor, FOLDER/source.yaml, whose downloads are FOLDER itself.

    The archives are gzip's in name only: nothing is compressed, so that reading them costs little.
    """
    parts = {}
    for part, count in (("train", images), ("test", TEST)):
        random = np.random.default_rng(count)
        pixels = (random.bytes(n * SIDE * SIDE) for n in _chunks(count))
        labels = (random.integers(0, CLASSES, n, np.uint8).tobytes() for n in _chunks(count))
        parts[part] = {
            "images": _archive(Path(folder), f"{part}-images.gz", (count, SIDE, SIDE), pixels),
            "labels": _archive(Path(folder), f"{part}-labels.gz", (count,), labels),
        }
    descriptor = {
        "format": "idx",
        "folder": "idx",
        "mirrors": ["http://localhost/"],
        "classes": [str(label) for label in range(CLASSES)],
        **parts,
    }
    (Path(folder) / "source.yaml").write_text(yaml.safe_dump(descriptor), encoding="utf-8")
    return {"images": images}


def _chunks(count: int) -> Iterator[int]:
    return (min(CHUNK, count - start) for start in range(0, count, CHUNK))


def _archive(
    folder: Path, name: str, shape: tuple[int, ...], content: Iterator[bytes]
) -> dict[str, str]:
    path = folder / "idx" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wb", compresslevel=0) as file:
        file.write(bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes())
        for chunk in content:
            file.write(chunk)
    with path.open("rb") as written:
        return {"file": name, "md5": hashlib.file_digest(written, "md5").hexdigest()}
