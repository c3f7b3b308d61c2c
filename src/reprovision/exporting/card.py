"""The model card: what a model is, how good it is and how to use it, all from the results files.

After Mitchell and others, "Model Cards for Model Reporting", arXiv:1810.03993.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

from jinja2 import Environment, StrictUndefined

from reprovision.core.params import Params
from reprovision.core.yaml_files import as_text, flatten
from reprovision.exporting.int8 import Int8Check
from reprovision.exporting.onnx import Parity
from reprovision.models.checkpoint import Checkpoint
from reprovision.models.classifier import count_parameters
from reprovision.results.class_metrics import ClassMetrics
from reprovision.results.metrics import METRICS
from reprovision.results.sums import Settings


@dataclass(frozen=True)
class Facts:
    """Everything that a card states.

    Attributes:
        checkpoint_md5: as in dvc.lock; it leads back to the commit.
        metrics, classes: as in results/test.json and results/classes.csv.
        int8: where `export.quantize` asks for a quantized model.
    """

    checkpoint: Checkpoint
    checkpoint_md5: str
    params: Params
    metrics: Mapping[str, float]
    classes: Sequence[ClassMetrics]
    parity: Parity
    int8: Int8Check | None = None


def write_card(facts: Facts) -> str:
    """The card as Markdown."""
    environment = Environment(
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    environment.filters.update(markdown=_escape, percent=_percent, number="{:,}".format)
    text = files("reprovision.exporting").joinpath("card.md.jinja").read_text(encoding="utf-8")
    data, evaluate = facts.checkpoint.header.dataset, facts.params.evaluate
    channels, height, width = data.shape
    # where a run is tracked does not change the model
    params = {k: as_text(v) for k, v in flatten(facts.params).items() if not k.startswith("track.")}
    return environment.from_string(text).render(
        vars(facts),
        data=data,
        channels=channels,
        height=height,
        width=width,
        parameters=count_parameters(facts.checkpoint.classifier),
        confidence=f"{100 * evaluate.confidence:.4g}%",
        table=[metric for name, metric in METRICS.items() if name in facts.metrics],
        settings=Settings(evaluate.bins, evaluate.top_k),
        weakest=min((c for c in facts.classes if c.images), key=lambda c: c.recall),
        counts={name: sum(split.counts) for name, split in data.splits.items()},
        flat_params=params,
    )


def _percent(fraction: float) -> str:
    return "–" if math.isnan(fraction) else f"{fraction:.2%}"


def _escape(name: str) -> str:
    """Names are data, not markup."""
    return re.sub(r"([\\`*_\[\]<|])", r"\\\1", " ".join(name.split()))
