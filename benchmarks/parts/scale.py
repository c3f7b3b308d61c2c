"""scale: cost by number of images, and a data set larger than the memory that it may use."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.data import scratch
from benchmarks.process import fresh, measure
from benchmarks.samples import Row, Sample, median, ratios, series, spread

TITLE = "Scale"

SIZES, TOY_SIZES = (10_000, 100_000, 1_000_000), (500, 1000, 5000)
RECIPE = "mlp-128"
LIMIT_MIB = 512
"""Torch and its libraries leave a third of it or so to the 750 MiB of a million images."""

LIMIT_ROUNDS, LIMIT_SECONDS, TOY_SECONDS = 3, 10.0, 1.0
LINEAR, SLOWDOWN = 1.2, 2.0
"""How much more an image may cost in the largest set than in the middle one, and how much longer
it may take where memory is short."""

GROUPS = Path("/sys/fs/cgroup")
"""Control groups: of version 2, or with those of version 1 below `memory`."""


def take(toy: bool) -> list[Sample]:
    """Prepares and trains an epoch at each size; the largest also under the limit."""
    samples = []
    for size in TOY_SIZES if toy else SIZES:
        with scratch() as folder:
            fresh("synthetic.write", images=size, folder=str(folder))
            prepared = str(folder / "prepared")
            samples += [
                measure(
                    str(size),
                    "prepare",
                    0,
                    "preparing.ours",
                    recipe=RECIPE,
                    folder=prepared,
                    source=str(folder / "source.yaml"),
                    downloads=str(folder),
                ),
                measure(
                    str(size),
                    "train",
                    0,
                    "ours.train",
                    recipe=RECIPE,
                    prepared=prepared,
                    seed=0,
                    train__epochs=1,
                ),
            ]
            if size == (TOY_SIZES if toy else SIZES)[-1]:
                samples += _limited(prepared, toy)
    return samples


def rows(samples: list[Sample]) -> list[Row]:
    """Cost an image at the largest size against the middle one, and under the limit."""
    found = []
    for variant in ("prepare", "train"):
        of_variant = [s for s in samples if s.variant == variant]
        for sample in of_variant:
            found.append(
                Row(
                    f"{variant}, {int(sample.case):,} images",
                    f"{sample.values['seconds']:,.2f} s, {sample.values['peak_mib']:,.0f} MiB",
                    "",
                    f"{1e6 * sample.values['seconds'] / int(sample.case):,.1f} µs an image",
                )
            )
        _, middle, largest = (s.values["seconds"] / int(s.case) for s in of_variant)
        found.append(
            Row(
                f"{variant}, ten times the images",
                "",
                "",
                f"{largest / middle:.2f} times the cost an image",
                f"at most {LINEAR} times",
                largest / middle <= LINEAR,
                "more of what is read comes from main memory or the disk and not from a cache",
            )
        )
    return found + _limited_rows(samples)


def _limited(prepared: str, toy: bool) -> list[Sample]:
    """Images/s of training with and without the limit, from a cold cache each time."""
    samples = []
    arguments = {
        "recipe": RECIPE,
        "prepared": prepared,
        "seconds": TOY_SECONDS if toy else LIMIT_SECONDS,
    }
    for number in range(1 if toy else LIMIT_ROUNDS):
        _forget(Path(prepared))
        samples.append(measure("memory", "free", number, "ours.train_for", **arguments))
        _forget(Path(prepared))
        with _memory_limit(LIMIT_MIB) as group:
            if group is None:
                print("  no control group can be made here (it takes root): limit not measured")
                return []
            samples.append(
                measure("memory", "limited", number, "ours.train_for", **arguments, group=group)
            )
    return samples


def _limited_rows(samples: list[Sample]) -> list[Row]:
    free, limited = (series(samples, "memory", v, "images_per_second") for v in ("free", "limited"))
    if not limited:
        return []
    slower = median(ratios(free, limited))
    return [
        Row(
            f"training on 748 MiB of images in {LIMIT_MIB} MiB of memory",
            spread(limited, "images/s", 0),
            f"without the limit {spread(free, 'images/s', 0)}",
            f"{slower:.1f} times slower",
            f"at most {SLOWDOWN:g} times",
            slower <= SLOWDOWN,
            "each image of a shuffled batch lies on a page of its own, which is read from disk",
        )
    ]


@contextmanager
def _memory_limit(mib: int) -> Iterator[Path | None]:
    """A control group that a process can join, or None where none can be made.

    The limit holds for the processes' own memory and for what they bring into the page cache,
    which is what a memory map takes.
    """
    old = (GROUPS / "memory" / "memory.limit_in_bytes").exists()
    group = GROUPS / ("memory" if old else "") / f"reprovision-{os.getpid()}"
    try:
        if not old:
            (GROUPS / "cgroup.subtree_control").write_text("+memory")
        group.mkdir()
    except OSError:
        yield None
        return
    limit = group / ("memory.limit_in_bytes" if old else "memory.max")
    limit.write_text(str(mib * 2**20))
    try:
        yield group
    finally:
        group.rmdir()


def _forget(folder: Path) -> None:
    """Drops a folder's files from the page cache, where another group would pay for them."""
    for path in folder.rglob("*.npy"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
