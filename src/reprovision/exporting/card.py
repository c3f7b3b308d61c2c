"""The model card: what a model is, how good it is and how to use it, all from the results files.

After Mitchell and others, "Model Cards for Model Reporting", arXiv:1810.03993.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reprovision.core.params import Params
from reprovision.core.yaml_files import as_text, flatten
from reprovision.exporting.onnx import Parity
from reprovision.models.checkpoint import Checkpoint
from reprovision.models.classifier import count_parameters
from reprovision.results.metrics import ClassMetrics

USE = """```python
import numpy as np
import onnxruntime
from PIL import Image, ImageOps

classes = {classes}
image = ImageOps.exif_transpose(Image.open("image.png")).convert("RGBA")
image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
image = ImageOps.fit(image.convert("{mode}"), ({width}, {height}), Image.Resampling.BILINEAR)
pixels = np.asarray(image).reshape(1, {height}, {width}, {channels}).transpose(0, 3, 1, 2)
session = onnxruntime.InferenceSession("model.onnx")
probabilities = session.run(None, {{"pixels": pixels}})[0][0]
print(classes[probabilities.argmax()], probabilities.max())
```"""


@dataclass(frozen=True)
class Facts:
    """Everything that a card states.

    Attributes:
        checkpoint_md5: as in dvc.lock; it leads back to the commit.
        metrics: as in results/test.json.
    """

    checkpoint: Checkpoint
    checkpoint_md5: str
    params: Params
    metrics: Mapping[str, float]
    classes: Sequence[ClassMetrics]
    parity: Parity


def write_card(facts: Facts) -> str:
    """The card as Markdown."""
    name = _escape(facts.checkpoint.header.dataset.name)
    sections = [
        f"# {name}: {facts.params.model.name} classifier",
        _summary(facts),
        "## Metrics",
        *_metrics(facts),
        "## Limits",
        _limits(facts),
        "## Usage",
        *_usage(facts),
        "## Training",
        *_training(facts),
        "## How to reproduce it",
        "In a clone of its project, this lists the commit that first had this model:",
        f"```sh\ngit log --oneline --reverse -S {facts.checkpoint_md5} -- dvc.lock\n```",
        "Check out the first one and run `uv run dvc repro`: on the same kind of processor this "
        "gives the same bytes.",
    ]
    return "\n\n".join(sections) + "\n"


def _summary(facts: Facts) -> str:
    data = facts.checkpoint.header.dataset
    channels, height, width = data.shape
    return (
        f"Classifies images into {len(data.classes)} classes: "
        f"{', '.join(map(_escape, data.classes))}. Its input is {height}x{width} pixels, "
        f"{'grayscale' if channels == 1 else 'RGB'}; it has "
        f"{count_parameters(facts.checkpoint.classifier):,} parameters."
    )


def _metrics(facts: Facts) -> list[str]:
    metrics, confidence = facts.metrics, _confidence(facts)
    interval = f"{metrics['accuracy_low']:.2%} to {metrics['accuracy_high']:.2%}"
    overall = [
        ("accuracy", f"{metrics['accuracy']:.2%} ({confidence} interval {interval})"),
        ("loss (cross-entropy, nats)", f"{metrics['loss']:.4f}"),
        ("macro F1", f"{metrics['macro_f1']:.2%}"),
        ("expected calibration error", f"{metrics['calibration_error']:.2%}"),
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
        f"Over the {metrics['images']:,} test images, which were not used in training:",
        _table(("metric", "value"), overall),
        _table(("class", "precision", f"recall ({confidence} interval)", "F1", "images"), rows),
    ]


def _limits(facts: Facts) -> str:
    weakest = min((c for c in facts.classes if c.images), key=lambda c: c.recall)
    return (
        f"The metrics hold for images like those of `{facts.params.data.source}`, and their "
        "intervals cover only the random choice of test images; accuracy on other images, from "
        "another camera or with another background for example, was not measured. Use images "
        "framed and lit like those in `results/plots/samples.png`: if those are light on dark, "
        "invert an image that is dark on light first. The model knows only the classes above and "
        "cannot answer that an image belongs to none of them. Its lowest recall is that of "
        f"{_escape(weakest.name)}: {weakest.recall:.2%} of {weakest.images:,} test images "
        f"({_confidence(facts)} interval {weakest.recall_low:.2%} to {weakest.recall_high:.2%})."
    )


def _usage(facts: Facts) -> list[str]:
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
        f"`model.onnx` takes `pixels`, uint8 (N, {channels}, {height}, {width}), and returns "
        f"`probabilities`, float32 (N, {len(data.classes)}). Normalization is part of the model. "
        "With numpy, onnxruntime and pillow:",
        code,
        f"Compared with PyTorch over {parity.images:,} test images: the largest difference in "
        f"any probability is {parity.max_difference:.1e}, and {parity.same_predictions:,} images "
        "get the same class.",
    ]


def _training(facts: Facts) -> list[str]:
    data = facts.checkpoint.header.dataset
    counts = {name: sum(split.counts) for name, split in data.splits.items()}
    # where a run is tracked does not change the model
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
    return "\n".join(f"| {' | '.join(map(_escape, cells))} |" for cells in lines)


def _escape(name: str) -> str:
    """Names are data, not markup."""
    return re.sub(r"([\\`*_\[\]<|])", r"\\\1", " ".join(name.split()))
