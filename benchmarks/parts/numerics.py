"""numerics: what the same bytes on every processor cost in training."""

from benchmarks.data import prepare_mnist, scratch
from benchmarks.parts.recipes import train_variants
from benchmarks.samples import Row, Sample, cases, median, ratios, series, spread

TITLE = "Portable against native numerics"

IMAGES = {
    "mlp-512-256": 60_000,
    "mlp-500-256": 60_000,
    "mlp-128": 60_000,
    "cnn-1": 20_000,
    "cnn-2": 20_000,
    "fast": 60_000,
    "accurate": 5_000,
}
"""Training images of each recipe: about a second."""

ROUNDS, TOY_IMAGES = 5, 640
TARGETS = {"mlp": 2.2, "cnn": 1.4}

OBSTACLE = (
    "MKL computes Muon's matrix products without AVX2 in its compatible mode; as a recipe, fast is "
    "native"
)


def take(toy: bool) -> list[Sample]:
    """One epoch each on two threads, all variants in turn."""
    with scratch() as folder:
        prepared = {recipe: prepare_mnist(recipe, folder) for recipe in IMAGES}
        return [
            sample
            for number in range(1 if toy else ROUNDS)
            for recipe, images in IMAGES.items()
            for sample in train_variants(
                number, recipe, prepared[recipe], TOY_IMAGES if toy else images, train__threads=2
            )
        ]


def rows(samples: list[Sample]) -> list[Row]:
    """Images/s, and how many times as long portable training takes."""
    found = []
    for recipe in cases(samples):
        portable = series(samples, recipe, "portable", "images_per_second")
        target = TARGETS["mlp" if recipe.startswith("mlp") else "cnn"]
        for variant in ("fp32", "auto"):
            native = series(samples, recipe, variant, "images_per_second")
            cost = median(ratios(native, portable))
            is_target = variant == "fp32"
            found.append(
                Row(
                    f"{recipe}, native {variant}",
                    spread(portable, "images/s", 0),
                    spread(native, "images/s", 0),
                    f"portable takes {cost:.2f} times as long",
                    f"at most {target} times" if is_target else "",
                    cost <= target if is_target else None,
                    OBSTACLE,
                )
            )
    return found
