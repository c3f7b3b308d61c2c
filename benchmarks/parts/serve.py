"""serve: requests/s of `reprovision serve`, and the time until an answer, by number of clients."""

from benchmarks.data import scratch
from benchmarks.parts.predict import CASES, IMAGES, TOY_IMAGES
from benchmarks.process import fresh
from benchmarks.samples import Row, Sample, median, ratios, series, spread

TITLE = "The service under load"

CLIENTS = (1, 8, 64)
ROUNDS, SECONDS, TARGET = 5, 5.0, 0.7
TOY_SECONDS = 0.5

OBSTACLES = {
    "digits": "HTTP and decoding take many times as long as so small a network",
    "photos": "decoding, HTTP and the clients share the two cores with the network",
}


def take(toy: bool) -> list[Sample]:
    """The service with all numbers of clients and ONNX Runtime in turn, for each network."""
    samples = []
    rounds, seconds = (1, TOY_SECONDS) if toy else (ROUNDS, SECONDS)
    with scratch() as folder:
        for case, kind in CASES.items():
            fresh("predict.export", kind=kind, folder=str(folder))
            images = TOY_IMAGES if toy else IMAGES[kind]
            fresh("predict.write", kind=kind, folder=str(folder), images=images)
            found = fresh(
                "serve.load",
                kind=kind,
                folder=str(folder),
                clients=list(CLIENTS),
                rounds=rounds,
                seconds=seconds,
            )
            print(f"  {case}: {found}", flush=True)
            samples += [
                Sample(case, variant, number, {name: values[name][number] for name in values})
                for variant, values in found.items()
                for number in range(rounds)
            ]
    return samples


def rows(samples: list[Sample]) -> list[Row]:
    """Requests/s of files against images/s of prepared pixels, and the percentiles."""
    found = []
    for case, kind in CASES.items():
        bare = series(samples, case, "bare", "images_per_second")
        for clients in CLIENTS:
            ours = series(samples, case, f"{clients}", "requests_per_second")
            p50, p99 = (
                1000 * median(series(samples, case, f"{clients}", name)) for name in ("p50", "p99")
            )
            ratio = median(ratios(ours, bare))
            found.append(
                Row(
                    f"{case}, {clients} client{'s' * (clients > 1)}",
                    f"{spread(ours, 'requests/s', 0)}; p50 {p50:.1f} ms, p99 {p99:.1f} ms",
                    f"ONNX Runtime, batches of 32: {spread(bare, 'images/s', 0)}",
                    f"{ratio:.2f} times",
                    f"at least {TARGET} times",
                    ratio >= TARGET,
                    OBSTACLES[kind],
                )
            )
    return found
