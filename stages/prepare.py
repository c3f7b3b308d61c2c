"""prepare: from a source of images to tensors, split into train, val and test, and checked."""

from reprovision.checks.charts import draw_dataset
from reprovision.checks.findings import warnings_of, write_findings
from reprovision.checks.images import read_prepared
from reprovision.checks.rules import check_images, check_prepared
from reprovision.core.params import load_params
from reprovision.core.stage import run_stage
from reprovision.data.dataset import load_split
from reprovision.images.image_grid import draw_samples
from reprovision.results import layout
from reprovision.sources import open_source
from reprovision.sources.prepare import prepare


def main() -> None:
    """Writes the prepared tensors, what may be wrong with them, and pictures of them."""
    params = load_params().data
    source = open_source(params.source, layout.downloads())
    unreadable: list[tuple[str, str]] = []
    info = prepare(source, params, layout.PREPARED, unreadable)
    train = load_split(layout.PREPARED, "train")
    draw_samples(train.images, train.labels, info.classes, info.name, layout.SAMPLES)
    images = read_prepared(layout.PREPARED, info, unreadable)
    findings = [*check_images(images), *check_prepared(info, train.images)]
    write_findings(layout.FINDINGS, findings)
    draw_dataset(images, layout.DATASET)
    counts = ", ".join(f"{sum(split.counts):,} {name}" for name, split in info.splits.items())
    size = "x".join(str(side) for side in info.shape)
    print(f"{info.name}: {counts} images of {size} (channels, height, width)")
    # prepare has reported what can't be read
    others = (finding for finding in findings if finding.name != "unreadable")
    for warning in (*source.notes, *warnings_of(others)):
        print(f"warning: {warning}")


if __name__ == "__main__":
    run_stage(main)
