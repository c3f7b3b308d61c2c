"""`reprovision suspects`: images whose labels the model contradicts, the most confident first.

The ranking is the probability of the predicted class minus that of the label. It needs no held-out
prediction of each image, as confident learning does (Northcutt et al., arXiv:1911.00068), and so
finds little among images that the model was trained on.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np

from reprovision.core.errors import UserError, printable
from reprovision.core.files import write_csv
from reprovision.core.wording import count
from reprovision.data.dataset import SPLITS, SplitName, load_info, load_origins, load_split
from reprovision.images.image_grid import draw_image_grid
from reprovision.serving.predictor import Predictor

BATCH = 100
"""Images that the model gets at a time."""


@dataclass(frozen=True)
class Suspect:
    """An image whose label the model contradicts.

    Attributes:
        row: in its split.
        image: where it comes from.
        label, predicted: names of classes.
        confidence: probability of the predicted class.
        probability_of_label: that of the label.
    """

    split: SplitName
    row: int
    image: str
    label: str
    predicted: str
    confidence: float
    probability_of_label: float


def show_suspects(
    model: Path, prepared: Path, top: int, table: Path | None, picture: Path | None
) -> None:
    """Prints the suspects, and if wanted writes all to a CSV file and the first to a picture.

    Args:
        model: the exported one.
        prepared: folder of the prepared images.
        top: how many are shown.

    Raises:
        UserError: the model was trained on other images.
    """
    info, predictor = load_info(prepared), Predictor(model)
    if (predictor.classes, predictor.preprocessing) != (info.classes, info.preprocessing):
        raise UserError(f"{model} was not trained on {prepared}: run `uv run dvc repro`")
    found = find_suspects(predictor, prepared)
    for split in SPLITS:
        images = sum(info.splits[split].counts)
        contradicted = sum(suspect.split == split for suspect in found)
        if images:
            print(f"{split}: the model contradicts {contradicted:,} of {count(images, 'label')}")
    for suspect in found[:top]:
        print(printable(_line(suspect)))
    if table:
        rows = ((*astuple(s)[:5], *(f"{p:.6g}" for p in astuple(s)[5:])) for s in found)
        write_csv(table, [field.name for field in fields(Suspect)], rows)
    if picture:
        _draw(prepared, found[:top], len(found), picture)


def find_suspects(predictor: Predictor, prepared: Path) -> list[Suspect]:
    """All images of a folder whose labels a model contradicts, the most confident first."""
    found: list[Suspect] = []
    classes = predictor.classes
    for name in SPLITS:
        split, origins = load_split(prepared, name), load_origins(prepared, name)
        for start in range(0, len(split), BATCH):
            labels = split.labels[start : start + BATCH]
            probabilities = predictor.probabilities(split.images[start : start + BATCH])
            predicted = probabilities.argmax(1)
            for row in np.flatnonzero(predicted != labels).tolist():
                both = predicted[row], labels[row]
                origin = origins[start + row]
                names = (classes[label] for label in both[::-1])
                of_both = (float(probabilities[row, label]) for label in both)
                found.append(Suspect(name, start + row, origin, *names, *of_both))
    # the order of equal ones is that of the images
    return sorted(found, key=lambda s: s.probability_of_label - s.confidence)


def _line(s: Suspect) -> str:
    return (
        f"{s.split:<5} {s.label} → {s.predicted} {s.confidence:.2%} "
        f"(label {s.probability_of_label:.2%})  {s.image}"
    )


def _draw(prepared: Path, suspects: Sequence[Suspect], total: int, path: Path) -> None:
    splits = {name: load_split(prepared, name).images for name in SPLITS}
    shape = splits["train"].shape[1:]
    images = [splits[s.split][s.row] for s in suspects]
    captions = [
        f"{s.label}\n→ {s.predicted}\n{s.confidence:.1%} ({s.split})\n{Path(s.image).name}"
        for s in suspects
    ]
    title = f"{len(suspects)} of {total:,} suspects: label → predicted, confidence"
    pixels = np.stack(images) if images else np.empty((0, *shape), np.uint8)
    draw_image_grid(pixels, captions, title, path)
