"""The package's own preparing, timed; it needs no torch, which would count as its memory."""

import time
from pathlib import Path

from benchmarks.process import ROOT
from benchmarks.workers.machine import memory_mib
from benchmarks.workers.params import params_of
from reprovision.sources import open_source
from reprovision.sources.prepare import prepare


def ours(recipe: str, folder: str, source: str = "", downloads: str = "") -> dict[str, float]:
    """Prepares the source of a recipe, or another one; its seconds and memory."""
    params = params_of(recipe)
    began = time.perf_counter()
    opened = open_source(
        source or ROOT / params.data.source, Path(downloads or ROOT / "data" / "downloads")
    )
    prepare(opened, params.data, Path(folder))
    return {"seconds": time.perf_counter() - began, "peak_mib": memory_mib("VmHWM")}
