"""The model as MLflow loads and serves it: images in, classes with their probabilities out.

MLflow keeps this file with model.onnx and preprocessing.py, and runs it wherever the model is
loaded: with the packages of the model's requirements.txt, without this one.
"""

import base64
import json
import os
from collections.abc import Iterable
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
from mlflow.environment_variables import _MLFLOW_IS_IN_SERVING_ENVIRONMENT
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class ImageClassifier(PythonModel):
    """An exported model behind MLflow's interface."""

    def load_context(self, context: PythonModelContext) -> None:
        """Loads model.onnx, whose metadata names the classes and describes the preprocessing."""
        self.session = onnxruntime.InferenceSession(
            context.artifacts["model"], providers=["CPUExecutionProvider"]
        )
        metadata = self.session.get_modelmeta().custom_metadata_map
        self.classes: list[str] = json.loads(metadata["classes"])
        code = _run(context.artifacts["preprocessing"])
        self.preprocess = code.preprocess
        self.how = code.Preprocessing(**json.loads(metadata["preprocessing"]))

    # MLflow warns of any type hint that says more
    def predict(
        self,
        context: PythonModelContext,
        model_input: np.ndarray,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """The class of each image, one row per image in order.

        Args:
            model_input: one image, a list, or one column of a table; an image is a file's content,
                its path or its content in base64, or pixels, whole numbers (C, H, W). Pixels of
                several images may be one array (N, C, H, W). A server opens no paths.

        Returns:
            columns predicted, confidence, and probabilities: a dict with the name of each class;
            with six digits, as in predictions.csv.

        Raises:
            MlflowException: an image can't be used; the message says which one, counted from 1.
        """
        rows = []
        for number, image in enumerate(_images(model_input), 1):
            try:
                pixels = self._pixels(image)
            except ValueError as error:
                raise MlflowException.invalid_parameter_value(f"image {number}: {error}") from error
            rows.append(self._row(pixels))
        return pd.DataFrame(rows, columns=["predicted", "confidence", "probabilities"])

    def _pixels(self, image: Any) -> np.ndarray:
        """uint8 (C, H, W); raises a ValueError for what is no image."""
        if isinstance(image, bytes | str | os.PathLike):
            content = _decode(image) if isinstance(image, str) else image
            return self.preprocess(content, self.how)
        try:
            pixels = np.asarray(image)
        except ValueError:
            raise ValueError(f"pixels must be numbers of the shape {self.how.shape}") from None
        if pixels.shape != self.how.shape:
            raise ValueError(f"pixels must have the shape {self.how.shape}, not {pixels.shape}")
        if pixels.dtype.kind not in "iu" or pixels.min() < 0 or pixels.max() > 255:
            raise ValueError(f"pixels must be integers from 0 to 255 (uint8), not {pixels.dtype}")
        return pixels.astype(np.uint8)

    def _row(self, pixels: np.ndarray) -> tuple[str, float, dict[str, float]]:
        # one by one, so that an answer does not depend on the images around it
        (found,) = self.session.run(None, {"pixels": pixels[None]})[0]
        probabilities = [float(f"{value:.6g}") for value in found]
        best = int(found.argmax())
        named = dict(zip(self.classes, probabilities, strict=True))
        return self.classes[best], probabilities[best], named


def _run(path: str) -> ModuleType:
    """A module from its file: by name, it could be that of another version, or of the caller."""
    spec = spec_from_file_location("preprocessing", path)
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _images(model_input: Any) -> Iterable[Any]:
    """The images one by one; raises an MlflowException for what can't hold any."""
    if isinstance(model_input, bytes | str | os.PathLike):
        return [model_input]
    if isinstance(model_input, dict | pd.DataFrame):
        if len(model_input.keys()) != 1:
            raise MlflowException.invalid_parameter_value("images must be in one column, alone")
        return _images(model_input[next(iter(model_input.keys()))])
    if not isinstance(model_input, Iterable):
        raise MlflowException.invalid_parameter_value("images must be a list, or one of them")
    return model_input


def _decode(text: str) -> bytes | str:
    """The content of a file in base64; a path stays as it is, except in a server."""
    if not _MLFLOW_IS_IN_SERVING_ENVIRONMENT.get() and os.path.isfile(text):  # noqa: PTH113
        return text
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        shown = text if len(text) < 100 else f"{text[:100]}..."
        where = "" if _MLFLOW_IS_IN_SERVING_ENVIRONMENT.get() else f"there is no file {shown}, and "
        raise ValueError(f"{where}it is not base64") from None


set_model(ImageClassifier())
