"""latency: one image through the exported model."""

from benchmarks.data import prepare_mnist, scratch
from benchmarks.process import fresh, measure
from benchmarks.samples import Row, Sample, cases, median, ratios, series

TITLE = "One image: ONNX Runtime against PyTorch"

RECIPES = ("default", "cnn-2", "fast", "mlp-512-256")
"""The default is the network of params.yaml on the digits."""
ROUNDS, TARGET, CALLS, TOY_CALLS = 3, 5.0, 2000, 50
VARIANTS = {
    "eager": ("latency.eager", None),
    "eager, 1 thread": ("latency.eager", 1),
    "onnx": ("latency.onnx", None),
    "onnx, 1 thread": ("latency.onnx", 1),
}

OBSTACLES = {
    "cnn-2": "the second convolution alone takes half of ONNX Runtime's time",
    "mlp-512-256": "the three matrix products, which read 2 MB of weights for one image, take most "
    "of the time on either side",
}


def take(toy: bool) -> list[Sample]:
    """Both ways with their defaults and with one thread, in turn."""
    samples = []
    with scratch() as folder:
        for recipe in RECIPES:
            fresh(
                "latency.export",
                recipe=recipe,
                prepared=prepare_mnist(recipe, folder),
                folder=str(folder),
            )
        for number in range(1 if toy else ROUNDS):
            samples += [
                measure(
                    recipe,
                    variant,
                    number,
                    worker,
                    path=str(folder / recipe),
                    calls=TOY_CALLS if toy else CALLS,
                    side=8 if recipe == "default" else 28,
                    threads=threads,
                )
                for recipe in RECIPES
                for variant, (worker, threads) in VARIANTS.items()
            ]
    return samples


def rows(samples: list[Sample]) -> list[Row]:
    """Median and 95th percentile of a call; what is compared are the medians."""
    found = []
    for recipe in cases(samples):
        for suffix in ("", ", 1 thread"):
            ours, eager = f"onnx{suffix}", f"eager{suffix}"
            faster = median(
                ratios(
                    series(samples, recipe, eager, "p50_us"),
                    series(samples, recipe, ours, "p50_us"),
                )
            )
            found.append(
                Row(
                    f"{recipe}{suffix or ', default options'}",
                    _percentiles(samples, recipe, ours),
                    _percentiles(samples, recipe, eager),
                    f"{faster:.1f} times faster",
                    f"at least {TARGET:g} times",
                    faster >= TARGET,
                    OBSTACLES.get(recipe, ""),
                )
            )
    return found


def _percentiles(samples: list[Sample], recipe: str, variant: str) -> str:
    p50, p95 = (series(samples, recipe, variant, name) for name in ("p50_us", "p95_us"))
    return f"p50 {median(p50):,.0f} µs, p95 {median(p95):,.0f} µs (n={len(p50)})"
