"""prepare: from a source of images to tensors, split into train, val and test."""

from pathlib import Path

from reprovision.core.files import workspace
from reprovision.core.params import load_params
from reprovision.core.stage import run_stage
from reprovision.data.sheets import draw_samples
from reprovision.sources import open_source
from reprovision.sources.preparing import prepare


def main(source: str, prepared: str, samples: str) -> None:
    params = load_params()
    opened = open_source(source, workspace() / "data" / "downloads")
    info = prepare(opened, params.data, Path(prepared))
    draw_samples(prepared, info, samples)
    counts = ", ".join(f"{sum(s.counts):,} {name}" for name, s in info.splits.items())
    size = "x".join(str(side) for side in info.shape)
    print(f"{info.name}: {counts} images of {size} (channels, height, width)")


if __name__ == "__main__":
    run_stage(main)
