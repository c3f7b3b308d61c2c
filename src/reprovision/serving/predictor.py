"""An exported model with its preprocessing: from image files to probabilities, without torch."""

import json
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path

import numpy as np
import onnxruntime

from reprovision.core.errors import UserError
from reprovision.images.parallel import map_images
from reprovision.images.preprocessing import ImageError, Preprocessing, preprocess

CLASSES, PREPROCESSING, DRAWING_BOX = "classes", "preprocessing", "drawing_box"
"""Metadata of a model, as JSON: names in the order of the probabilities; see `Preprocessing`; for
grayscale images, see `drawing_box`."""

MODEL = "model.onnx"

Image = bytes | str | PathLike[str]
"""An image file: its content or its path."""


def model_file(path: str | Path) -> Path:
    """The ONNX file that is named, or that is in the folder named.

    Raises:
        UserError: it is missing.
    """
    path = Path(path, MODEL) if Path(path).is_dir() else Path(path)
    if not path.is_file():
        raise UserError(
            f"there is no {path}: run `uv run dvc repro`, which exports {MODEL} (and, with "
            "export.quantize=int8, model.int8.onnx), or name another file"
        )
    return path


class Predictor:
    """A loaded model.

    Args:
        path: of the ONNX file that the export stage wrote, or of its folder.
        threads: that share the work of one call; 0 for ONNX Runtime's choice.

    Attributes:
        classes: names, in the order of the probabilities.
        preprocessing: from image files to the model's pixels.
        drawing_box: of grayscale training images, see `images.drawing.drawing_box`; else None.

    Raises:
        UserError: the file is missing, damaged, or was not written by the export stage.
    """

    def __init__(self, path: str | Path, threads: int = 0) -> None:
        path = model_file(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # idle threads would take the processors from those that decode the next images
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self.session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
            metadata = self.session.get_modelmeta().custom_metadata_map
            self.classes: tuple[str, ...] = tuple(json.loads(metadata[CLASSES]))
            self.preprocessing = Preprocessing(**json.loads(metadata[PREPROCESSING]))
            self.drawing_box: float | None = json.loads(metadata.get(DRAWING_BOX, "null"))
        # ONNX Runtime raises classes of its own without a common one
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(
                f"{path} is not a model of the export stage ({reason}): run `uv run dvc repro`, or "
                "name another one"
            ) from error

    def predict(self, image: Image) -> np.ndarray:
        """The probabilities of an image's classes, float32 (classes,).

        Raises:
            ImageError: the image can't be read.
        """
        return self.probabilities(preprocess(image, self.preprocessing)[None])[0]

    def predict_all(self, images: Iterable[Image]) -> Iterator[np.ndarray | ImageError]:
        """Yields the probabilities of each image, or why it can't be read, in order.

        Where that takes long, each processor reads and predicts an image of its own, for which one
        thread per call is best (`threads=1`). An answer cannot depend on the images around it:
        there are no batches, which photos would not make faster (benchmarks/parts/predict.py).
        Memory is bounded.
        """

        def answer(image: Image) -> np.ndarray | ImageError:
            try:
                return self.predict(image)
            except ImageError as error:
                return error

        return map_images(answer, images)

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        """The probabilities float32 (N, classes) of preprocessed pixels, uint8 (N, C, H, W)."""
        found: np.ndarray = self.session.run(None, {"pixels": pixels})[0]
        return found
