"""predict: images/s of `reprovision predict`, and the seconds until it answers."""

from benchmarks.data import scratch
from benchmarks.process import fresh
from benchmarks.samples import Row, Sample, median, ratios, series, spread

TITLE = "From image files to answers"

CASES = {"photos, EfficientNet-Lite0": "photos", "28x28 PNGs, default network": "digits"}
BARE = {
    "batches": "ONNX Runtime, default options, batches of 32",
    "singles": "ONNX Runtime, single images, one per processor",
}
ANSWER = "one photo, the whole process"
ROUNDS, TARGET, SECONDS = 5, 0.8, 1.0
IMAGES = {"photos": 100, "digits": 2000}
TOY_IMAGES = 20

OBSTACLES = {
    "digits": "Pillow opens so small a PNG in Python, which one thread at a time can run; the "
    "network takes less time than that"
}


def take(toy: bool) -> list[Sample]:
    """Ours and ONNX Runtime on prepared pixels in turn, in one process for each network."""
    samples = []
    rounds = 2 if toy else ROUNDS
    with scratch() as folder:
        for case, kind in CASES.items():
            fresh("predict.export", kind=kind, folder=str(folder))
            images = TOY_IMAGES if toy else IMAGES[kind]
            fresh("predict.write", kind=kind, folder=str(folder), images=images)
            found = fresh("predict.compare", kind=kind, folder=str(folder), rounds=rounds)
            print(f"  {case}: {found}", flush=True)
            samples += _samples(case, found, "images_per_second")
        found = fresh("predict.answer", folder=str(folder), rounds=2 * rounds)
    print(f"  {ANSWER}: {found}", flush=True)
    return samples + _samples(ANSWER, found, "seconds")


def _samples(case: str, found: dict[str, list[float]], name: str) -> list[Sample]:
    return [
        Sample(case, variant, number, {name: value})
        for variant, values in found.items()
        for number, value in enumerate(values)
    ]


def rows(samples: list[Sample]) -> list[Row]:
    """Files that are decoded and predicted against prepared pixels, and the answer for one."""
    found = []
    for case, kind in CASES.items():
        ours = series(samples, case, "ours", "images_per_second")
        for variant, what in BARE.items():
            bare = series(samples, case, variant, "images_per_second")
            ratio = median(ratios(ours, bare))
            found.append(
                Row(
                    case,
                    spread(ours, "images/s", 0),
                    f"{what}: {spread(bare, 'images/s', 0)}",
                    f"{ratio:.2f} times",
                    f"at least {TARGET} times",
                    ratio >= TARGET,
                    OBSTACLES.get(kind, ""),
                )
            )
    seconds = series(samples, ANSWER, "ours", "seconds")
    in_time = median(seconds) <= SECONDS
    shown = f"{median(seconds):.2f} s"
    target = f"at most {SECONDS:g} s"
    return [*found, Row(ANSWER, spread(seconds, "s"), "", shown, target, in_time)]
