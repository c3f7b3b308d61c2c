"""`reprovision predict`: the classes of image files, as text or JSON."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from reprovision.core.errors import UserError, printable
from reprovision.images.files import used_entries
from reprovision.images.preprocessing import ImageError
from reprovision.serving.predictor import Predictor


def predict_files(model: Path, images: Sequence[Path], top: int, as_json: bool) -> bool:
    """Prints what a model says of image files, or of all files in folders.

    Args:
        top: classes shown of each image, the most probable first.
        as_json: one JSON object per line instead of text.

    Returns:
        whether all could be read; what could not is reported on stderr.

    Raises:
        UserError: the model can't be used, or there is no image.
    """
    predictor, files = Predictor(model), list(_files(images))
    if not files:
        raise UserError(f"there are no files in {', '.join(map(str, images))}: name image files")
    all_read = True
    for file in files:
        try:
            probabilities = predictor.predict(file)
        except ImageError as error:
            all_read = False
            print(f"error: {printable(f'{file} ({error})')}", file=sys.stderr)
            continue
        best = _most_probable(predictor.classes, probabilities, top)
        if as_json:
            print(json.dumps({"image": str(file), "classes": dict(best)}, ensure_ascii=False))
        else:
            shown = ", ".join(f"{name} {probability:.2%}" for name, probability in best)
            print(printable(f"{file}: {shown}"))
    return all_read


def _files(images: Sequence[Path]) -> Iterator[Path]:
    for path in images:
        if path.is_dir():
            yield from _files(used_entries(path))
        else:
            yield path


def _most_probable(
    classes: Sequence[str], probabilities: np.ndarray, top: int
) -> list[tuple[str, float]]:
    order = np.argsort(-probabilities, kind="stable")[:top]
    # as many digits as predictions.csv has
    return [(classes[i], round(float(probabilities[i]), 6)) for i in order]
