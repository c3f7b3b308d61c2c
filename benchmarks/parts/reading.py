"""reading: prepare of image files against a plain loop over Pillow."""

from benchmarks.data import scratch
from benchmarks.process import fresh, measure
from benchmarks.samples import Row, Sample, median, ratios, series, spread

TITLE = "From image files to tensors"

CASES = {"500 photos of 500x335, to 224x224": "photos", "10,000 PNGs of 32x32": "small"}
IMAGES = {"photos": 500, "small": 10_000}
TOY_IMAGES = 60
ROUNDS, TARGET = 5, 1.2


def take(toy: bool) -> list[Sample]:
    """Ours and the loop in turn."""
    samples = []
    with scratch() as folder:
        for case, kind in CASES.items():
            images = TOY_IMAGES if toy else IMAGES[kind]
            fresh("reading.write", kind=kind, folder=str(folder / kind), images=images)
            arguments = {"kind": kind, "folder": str(folder / kind), "out": str(folder)}
            for number in range(1 if toy else ROUNDS):
                for variant in ("ours", "plain"):
                    worker = f"reading.{variant}"
                    samples.append(measure(case, variant, number, worker, **arguments))
    return samples


def rows(samples: list[Sample]) -> list[Row]:
    """CPU time, which has a target, and wall time."""
    found = []
    for case in CASES:
        for what, name in (("CPU time", "cpu_seconds"), ("time", "seconds")):
            ours, plain = (series(samples, case, variant, name) for variant in ("ours", "plain"))
            ratio = median(ratios(ours, plain))
            is_target = name == "cpu_seconds"
            found.append(
                Row(
                    f"{case}: {what}",
                    spread(ours, "s"),
                    spread(plain, "s"),
                    f"{ratio:.2f} times",
                    f"at most {TARGET} times" if is_target else "",
                    ratio <= TARGET if is_target else None,
                )
            )
    return found
