"""prepare: from a source of images to tensors, split into train, val and test."""

from reprovision.core.params import load_params
from reprovision.core.stage import run_stage
from reprovision.data.dataset import load_split
from reprovision.images.image_grid import draw_samples
from reprovision.results import layout
from reprovision.sources import open_source
from reprovision.sources.prepare import find_doubts, prepare


def main() -> None:
    """Writes the prepared tensors and a picture of some training images."""
    params = load_params().data
    source = open_source(params.source, layout.downloads())
    info = prepare(source, params, layout.PREPARED)
    train = load_split(layout.PREPARED, "train")
    draw_samples(train.images, train.labels, info.classes, info.name, layout.SAMPLES)
    counts = ", ".join(f"{sum(split.counts):,} {name}" for name, split in info.splits.items())
    size = "x".join(str(side) for side in info.shape)
    print(f"{info.name}: {counts} images of {size} (channels, height, width)")
    for doubt in (*source.remarks, *find_doubts(info, train.images)):
        print(f"warning: {doubt}")


if __name__ == "__main__":
    run_stage(main)
