"""Folders of image files: through prepare, and through a plain loop over Pillow."""

import resource
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from benchmarks.workers.params import DEFAULT, params_of
from reprovision.sources import open_source
from reprovision.sources.prepare import prepare

SIDES = {"photos": 224, "small": 32}


def write(kind: str, folder: str, images: int) -> dict[str, float]:
    """Writes different image files of two classes to FOLDER/{a,b}: JPEG photos, or small PNGs."""
    from sklearn.datasets import load_sample_images

    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    random = np.random.default_rng(0)
    for number in range(images):
        path = Path(folder) / "ab"[number % 2] / f"{number:06}"
        path.parent.mkdir(parents=True, exist_ok=True)
        left, top = random.integers(0, (140, 92))
        crop = photos[number % 2].crop((left, top, left + 500, top + 335))
        if kind == "photos":
            crop.save(path.with_suffix(".jpg"), quality=90)
        else:
            crop.resize((32, 32)).save(path.with_suffix(".png"))
    return {"images": images}


def ours(kind: str, folder: str, out: str) -> dict[str, float]:
    """CPU and wall seconds of prepare, from the folder's name to the tensors on disk."""
    side = SIDES[kind]
    data = params_of(DEFAULT, data__source=folder, data__image_size=side).data
    start = _clocks()
    prepare(open_source(folder, Path(out)), data, Path(out))
    return _since(start)


def plain(kind: str, folder: str, out: str) -> dict[str, float]:
    """The same of a loop that finds the files, scales and crops them, and saves one array."""
    start, side = _clocks(), SIDES[kind]
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    pixels = np.empty((len(files), side, side, 3), np.uint8)
    for row, file in enumerate(files):
        with Image.open(file) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
            fitted = ImageOps.fit(upright, (side, side), Image.Resampling.BILINEAR)
            pixels[row] = np.asarray(fitted)
    np.save(Path(out) / "plain.npy", pixels)
    return _since(start)


def _clocks() -> tuple[float, float]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter(), used.ru_utime + used.ru_stime


def _since(start: tuple[float, float]) -> dict[str, float]:
    wall, cpu = (now - then for now, then in zip(_clocks(), start, strict=True))
    return {"seconds": wall, "cpu_seconds": cpu}
