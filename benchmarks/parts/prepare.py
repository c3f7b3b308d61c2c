"""prepare: from MNIST's archives to tensors on disk."""

import shutil

from benchmarks.data import scratch
from benchmarks.process import ROOT, measure
from benchmarks.samples import Row, Sample, median, ratios, series, spread

TITLE = "Preparing MNIST"

ROUNDS, FASTER, SECONDS, TOY_IMAGES = 5, 20.0, 1.0, 500


def take(toy: bool) -> list[Sample]:
    """Ours and one image at a time in turn, each into an empty folder; imports are not counted."""
    samples = []
    for number in range(1 if toy else ROUNDS):
        with scratch() as folder:
            samples.append(
                measure(
                    "prepare",
                    "ours",
                    number,
                    "preparing.ours",
                    recipe="fast",
                    folder=str(folder / "ours"),
                )
            )
            # torchvision unpacks the archives beside them: it gets its own
            raw = folder / "downloads" / "MNIST" / "raw"
            raw.mkdir(parents=True)
            for archive in (ROOT / "data" / "downloads" / "MNIST" / "raw").glob("*.gz"):
                shutil.copyfile(archive, raw / archive.name)
            samples.append(
                measure(
                    "prepare",
                    "tutorial",
                    number,
                    "tutorial.prepare",
                    downloads=str(folder / "downloads"),
                    folder=str(folder / "tutorial"),
                    images=TOY_IMAGES if toy else None,
                )
            )
    return samples


def rows(samples: list[Sample]) -> list[Row]:
    """Seconds from archives to tensors."""
    ours, single = (series(samples, "prepare", v, "seconds") for v in ("ours", "tutorial"))
    faster = median(ratios(single, ours))
    return [
        Row(
            "70,000 images",
            spread(ours, "s"),
            f"one image at a time {spread(single, 's')}",
            f"{faster:.1f} times faster",
            f"at least {FASTER:g} times",
            faster >= FASTER,
            "unpacking gzip, which both have to do, takes most of what is left",
        ),
        Row(
            "70,000 images",
            spread(ours, "s"),
            "",
            f"{median(ours):.2f} s",
            f"at most {SECONDS:g} s",
            median(ours) <= SECONDS,
        ),
    ]
