"""`reprovision predict`: the classes of image files, as text, JSON or CSV."""

import shutil
import stat
import sys
from collections.abc import Iterable, Sequence
from functools import partial
from os import fstat

import numpy as np

from reprovision.core.errors import printable
from reprovision.images.preprocessing import ImageError
from reprovision.serving.inputs import find_images
from reprovision.serving.output import (
    Format,
    Show,
    csv_header,
    csv_line,
    json_line,
    most_probable,
    text_for,
)
from reprovision.serving.predictor import Predictor


def predict_files(predictor: Predictor, arguments: Sequence[str], top: int, output: Format) -> bool:
    """Prints what a model predicts for images, one by one as soon as it is known.

    Args:
        arguments: files, folders, or `-` for standard input.
        top: classes shown of each image, the most probable first.

    Returns:
        whether all could be read; what could not is reported on stderr.

    Raises:
        UserError: there is no image.
    """
    images, classes = find_images(arguments), predictor.classes
    names = [name for name, _ in images]
    show = _layout(output, names, classes, top)
    if output == "csv":
        print(csv_header(min(top, len(classes))), flush=True)

    answers: Iterable[np.ndarray | ImageError]
    answers, report = predictor.predict_all(image for _, image in images), _report
    if _has_room_for_a_bar():
        from tqdm import tqdm

        answers = tqdm(answers, total=len(images), unit=" images", leave=False)
        report = partial(tqdm.write, file=sys.stderr)
    unreadable = 0
    for name, answer in zip(names, answers, strict=True):
        if isinstance(answer, ImageError):
            unreadable += 1
            report(printable(f"error: {name} ({answer})"))
        else:
            print(show(name, most_probable(classes, answer, top)), flush=True)
    if unreadable and len(images) > 1:
        report(f"{unreadable:,} of {len(images):,} images can't be read, see above")
    return not unreadable


def _layout(output: Format, names: Sequence[str], classes: Sequence[str], top: int) -> Show:
    if output == "json":
        return json_line
    if output == "csv":
        return csv_line
    # in a file or a pipe, each image is one line
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    return text_for(names, classes, top, width)


def _report(line: str) -> None:
    print(line, file=sys.stderr)


def _has_room_for_a_bar() -> bool:
    """Whether stderr is a terminal that nothing else is printed to.

    What a pipe leads to may print to the same one.
    """
    return sys.stderr.isatty() and stat.S_ISREG(fstat(sys.stdout.fileno()).st_mode)
