"""The model card: what a model is, how good it is and how to use it, all from the results files.

After Mitchell and others, "Model Cards for Model Reporting", arXiv:1810.03993.
"""

from collections.abc import Sequence

from reprovision.core.params import Params, flatten
from reprovision.evaluation.metrics import ClassMetrics, Metrics
from reprovision.exporting.onnx import Parity
from reprovision.models import count_weights
from reprovision.models.checkpoint import Checkpoint

USE = """```python
import numpy as np
import onnxruntime
from PIL import Image

classes = {classes!r}
picture = Image.open("picture.png").convert("{mode}").resize(({width}, {height}))
pixels = np.asarray(picture).reshape(1, {height}, {width}, {channels}).transpose(0, 3, 1, 2)
session = onnxruntime.InferenceSession("model.onnx")
probabilities = session.run(None, {{"pixels": pixels}})[0][0]
print(classes[probabilities.argmax()], probabilities.max())
```"""


def write_card(
    checkpoint: Checkpoint,
    params: Params,
    metrics: Metrics,
    classes: Sequence[ClassMetrics],
    parity: Parity,
) -> str:
    """The card as Markdown."""
    data = checkpoint.header.dataset
    channels, height, width = data.shape
    counts = {name: sum(split.counts) for name, split in data.splits.items()}
    weakest = min(classes, key=lambda c: c.recall)
    confidence = f"{params.evaluate.confidence:.0%}"
    use = USE.format(
        classes=list(data.classes),
        mode="L" if channels == 1 else "RGB",
        channels=channels,
        height=height,
        width=width,
    )
    sections = [
        f"# {data.name} {params.model.name}",
        f"Classifies images of {height}x{width} pixels, {channels} "
        f"channel{'s' if channels > 1 else ''}, into {len(data.classes)} classes: "
        f"{', '.join(data.classes)}. {count_weights(checkpoint.classifier):,} weights.",
        "## How good it is",
        f"Over the {metrics.images:,} test images, which training never saw:",
        _table(
            ("metric", "value"),
            [
                (
                    "accuracy",
                    f"{metrics.accuracy:.2%} ({confidence} interval "
                    f"{metrics.accuracy_low:.2%} to {metrics.accuracy_high:.2%})",
                ),
                ("loss (cross-entropy, nats)", f"{metrics.loss:.4f}"),
                ("macro F1", f"{metrics.macro_f1:.2%}"),
                ("expected calibration error", f"{metrics.calibration_error:.2%}"),
            ],
        ),
        _table(
            ("class", "precision", f"recall ({confidence} interval)", "F1", "images"),
            [
                (
                    c.name,
                    f"{c.precision:.2%}",
                    f"{c.recall:.2%} ({c.recall_low:.2%} to {c.recall_high:.2%})",
                    f"{c.f1:.2%}",
                    f"{c.images:,}",
                )
                for c in classes
            ],
        ),
        "## What it is made from",
        f"Data: `{params.data.source}`; {counts['train']:,} training, {counts['val']:,} validation "
        f"and {counts['test']:,} test images. SHA-256 of the test set: "
        f"`{data.splits['test'].digest}`.",
        "Params:",
        "```yaml\n"
        + "\n".join(f"{key}: {_plain(value)}" for key, value in flatten(params).items())
        + "\n```",
        "## How to use it",
        "`model.onnx` takes `pixels`, uint8 (N, "
        f"{channels}, {height}, {width}), and gives `probabilities`, float32 (N, "
        f"{len(data.classes)}). Normalisation is inside the model.",
        use,
        f"Checked against PyTorch over {parity.images:,} test images: the largest difference in "
        f"any probability is {parity.max_difference:.1e}, and {parity.same_predictions:,} images get "
        "the same class.",
        "## Limits",
        f"The figures hold for images like those of `{params.data.source}`; for others they are "
        f"unknown. It knows no class beside those above and never says that an image is none of "
        f"them. Its weakest class is {weakest.name}, with a recall of {weakest.recall:.2%}.",
        "## How to make it again",
        "At the commit that holds this `dvc.lock`: `uv run dvc repro`.",
    ]
    return "\n\n".join(sections) + "\n"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _plain(value: object) -> str:
    return "null" if value is None else str(value)
