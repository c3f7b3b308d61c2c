"""The model card: what a model is, how good it is and how to use it, all from the results files.

After Mitchell and others, "Model Cards for Model Reporting", arXiv:1810.03993.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from reprovision.core.params import Params, as_text, flatten
from reprovision.evaluation.metrics import ClassMetrics, Metrics
from reprovision.exporting.onnx import Parity
from reprovision.models import count_weights
from reprovision.models.checkpoint import Checkpoint

USE = """```python
import numpy as np
import onnxruntime
from PIL import Image, ImageOps

classes = {classes}
picture = ImageOps.exif_transpose(Image.open("picture.png")).convert("RGBA")
picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
picture = ImageOps.fit(picture.convert("{mode}"), ({width}, {height}), Image.Resampling.BILINEAR)
pixels = np.asarray(picture).reshape(1, {height}, {width}, {channels}).transpose(0, 3, 1, 2)
session = onnxruntime.InferenceSession("model.onnx")
probabilities = session.run(None, {{"pixels": pixels}})[0][0]
print(classes[probabilities.argmax()], probabilities.max())
```"""


@dataclass(frozen=True)
class Facts:
    """All that a card tells.

    Attributes:
        checkpoint_md5: as dvc.lock has it, which leads back to the commit.
    """

    checkpoint: Checkpoint
    checkpoint_md5: str
    params: Params
    metrics: Metrics
    classes: Sequence[ClassMetrics]
    parity: Parity


def write_card(facts: Facts) -> str:
    """The card as Markdown."""
    data, params = facts.checkpoint.header.dataset, facts.params
    sections = [
        f"# {_plain(data.name)}: {params.model.name} classifier",
        _summary(facts),
        "## How good it is",
        *_figures(facts),
        "## Limits",
        _limits(facts),
        "## How to use it",
        *_use(facts),
        "## What it is made from",
        *_origins(facts),
        "## How to make it again",
        "In a clone of the project that made it, this names the commit:",
        f"```sh\ngit log --oneline --reverse -S {facts.checkpoint_md5} -- dvc.lock\n```",
        "Check out the first one it lists and run `uv run dvc repro`; on the same kind of "
        "processor the model comes out the same to the byte.",
    ]
    return "\n\n".join(sections) + "\n"


def _summary(facts: Facts) -> str:
    data = facts.checkpoint.header.dataset
    channels, height, width = data.shape
    return (
        f"Tells {len(data.classes)} classes of images apart: "
        f"{', '.join(map(_plain, data.classes))}. It looks at {height}x{width} pixels, "
        f"{'grey' if channels == 1 else 'in colour'}, and has "
        f"{count_weights(facts.checkpoint.classifier):,} weights."
    )


def _figures(facts: Facts) -> list[str]:
    metrics, confidence = facts.metrics, _confidence(facts)
    ends = f"{metrics.accuracy_low:.2%} to {metrics.accuracy_high:.2%}"
    overall = [
        ("accuracy", f"{metrics.accuracy:.2%} ({confidence} interval {ends})"),
        ("loss (cross-entropy, nats)", f"{metrics.loss:.4f}"),
        ("macro F1", f"{metrics.macro_f1:.2%}"),
        ("expected calibration error", f"{metrics.calibration_error:.2%}"),
    ]
    rows = [
        (
            c.name,
            f"{c.precision:.2%}",
            f"{c.recall:.2%} ({c.recall_low:.2%} to {c.recall_high:.2%})",
            f"{c.f1:.2%}",
            f"{c.images:,}",
        )
        for c in facts.classes
    ]
    return [
        f"Over the {metrics.images:,} test images, which training never saw:",
        _table(("metric", "value"), overall),
        _table(("class", "precision", f"recall ({confidence} interval)", "F1", "images"), rows),
    ]


def _limits(facts: Facts) -> str:
    weakest = min((c for c in facts.classes if c.images), key=lambda c: c.recall)
    return (
        f"The figures hold for images like those of `{facts.params.data.source}`, and their "
        "intervals answer for the chance in the choice of test images only; how good it is on "
        "other images, say of another camera or with another background, nobody has measured. "
        "Give it pictures framed and lit like those in `results/plots/samples.png`: where those "
        "are light on dark, one that is dark on light has to be inverted first. It knows no class "
        "beside those above and never says that an image is none of them. It is weakest at "
        f"{_plain(weakest.name)}: of {weakest.images:,} test images it recognised "
        f"{weakest.recall:.2%} ({_confidence(facts)} interval {weakest.recall_low:.2%} to "
        f"{weakest.recall_high:.2%})."
    )


def _use(facts: Facts) -> list[str]:
    data, parity = facts.checkpoint.header.dataset, facts.parity
    channels, height, width = data.shape
    code = USE.format(
        classes=list(data.classes),
        mode="L" if channels == 1 else "RGB",
        channels=channels,
        height=height,
        width=width,
    )
    return [
        f"`model.onnx` takes `pixels`, uint8 (N, {channels}, {height}, {width}), and gives "
        f"`probabilities`, float32 (N, {len(data.classes)}). Normalisation is inside the model. "
        "With numpy, onnxruntime and pillow:",
        code,
        f"Checked against PyTorch over {parity.images:,} test images: the largest difference in "
        f"any probability is {parity.max_difference:.1e}, and {parity.same_predictions:,} images "
        "get the same class.",
    ]


def _origins(facts: Facts) -> list[str]:
    data = facts.checkpoint.header.dataset
    counts = {name: sum(split.counts) for name, split in data.splits.items()}
    # where a run is recorded makes no other model
    params = {k: v for k, v in flatten(facts.params).items() if not k.startswith("track.")}
    lines = [f"{key}: {as_text(value)}" for key, value in params.items()]
    return [
        f"Data: `{facts.params.data.source}`; {counts['train']:,} training, {counts['val']:,} "
        f"validation and {counts['test']:,} test images. SHA-256 of the test set: "
        f"`{data.splits['test'].digest}`.",
        "Params:",
        "\n".join(["```yaml", *lines, "```"]),
    ]


def _confidence(facts: Facts) -> str:
    return f"{100 * facts.params.evaluate.confidence:.4g}%"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(_plain, cells))} |" for cells in lines)


def _plain(name: str) -> str:
    """Names are data, not markup."""
    return re.sub(r"([\\`*_\[\]<|])", r"\\\1", " ".join(name.split()))
