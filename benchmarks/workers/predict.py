"""The command `reprovision predict` against ONNX Runtime on pixels that are in memory already."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import onnxruntime

from reprovision.images.preprocessing import Preprocessing, preprocess
from reprovision.serving.command import predict_files
from reprovision.serving.predictor import Predictor

BATCH = 32

MODELS: dict[str, tuple[str, Preprocessing]] = {
    "photos": ("timm/tf_efficientnet_lite0", Preprocessing(224, 224, 3, interpolation="bicubic")),
    "digits": ("cnn", Preprocessing(28, 28, 1)),
}


def export(kind: str, folder: str) -> dict[str, float]:
    """Writes a network with new parameters as FOLDER/KIND.onnx."""
    import torch

    from benchmarks.workers.params import DEFAULT, params_of
    from reprovision.data.dataset import DatasetInfo, SplitInfo
    from reprovision.exporting.onnx import export_onnx
    from reprovision.models.checkpoint import load_checkpoint, save_checkpoint
    from reprovision.models.classifier import build_model

    name, how = MODELS[kind]
    model = params_of(DEFAULT, model__name=name).model
    classes = tuple("0123456789")
    empty = SplitInfo(counts=(0,) * len(classes), digest="", origins="", in_train=0)
    info = DatasetInfo(
        name=kind,
        classes=classes,
        preprocessing=how,
        mean=(0.5,) * how.channels,
        std=(0.5,) * how.channels,
        splits={"train": empty, "val": empty, "test": empty},
    )
    torch.manual_seed(0)
    path = Path(folder) / f"{kind}.safetensors"
    classifier = build_model(model, how.shape, len(classes), info.mean, info.std)
    save_checkpoint(path, classifier, model, info)
    export_onnx(load_checkpoint(path), path.with_suffix(".onnx"))
    return {"kib": path.with_suffix(".onnx").stat().st_size / 1024}


def write(kind: str, folder: str, images: int) -> dict[str, float]:
    """Writes image files to FOLDER/KIND: copies of scikit-learn's two photos, or its digits."""
    from PIL import Image
    from sklearn.datasets import load_digits, load_sample_images

    (Path(folder) / kind).mkdir()
    photos, digits = load_sample_images(), load_digits().images
    for number in range(images):
        path = Path(folder) / kind / f"{number:05}"
        if kind == "photos":
            photo = Image.fromarray(photos.images[number % 2])
            # of the size that people's collections from the web have
            photo.resize((500, 335)).save(path.with_suffix(".jpg"), quality=90)
        else:
            digit = (digits[number % len(digits)] * 15).astype(np.uint8)
            Image.fromarray(digit).resize((28, 28)).save(path.with_suffix(".png"))
    return {"images": images}


def compare(kind: str, folder: str, rounds: int) -> dict[str, list[float]]:
    """Images/s of the command without its start, and of ONNX Runtime in two ways, in turn."""
    path, files = Path(folder) / f"{kind}.onnx", sorted((Path(folder) / kind).iterdir())
    predictor = Predictor(path, threads=1)
    pixels = np.stack([preprocess(file, predictor.preprocessing) for file in files])
    usual, single = _session(path, 0), _session(path, 1)

    def ours() -> None:
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
            predict_files(predictor, [str(Path(folder) / kind)], 3, "csv")

    def batches() -> None:
        for start in range(0, len(pixels), BATCH):
            usual.run(None, {"pixels": pixels[start : start + BATCH]})

    def singles() -> None:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(lambda image: single.run(None, {"pixels": image[None]}), pixels))

    calls: dict[str, Callable[[], None]] = {"ours": ours, "batches": batches, "singles": singles}
    speeds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(1 + rounds):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            # the first round warms up
            if number:
                speeds[name].append(len(files) / (time.perf_counter() - began))
    return speeds


def answer(folder: str, rounds: int) -> dict[str, list[float]]:
    """Seconds of the whole process that predicts one photo, after one to warm the page cache."""
    photo = next((Path(folder) / "photos").iterdir())
    code = "from reprovision.cli import main; main()"
    command = [
        sys.executable,
        "-c",
        code,
        "predict",
        "--model",
        f"{folder}/photos.onnx",
        str(photo),
    ]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    seconds = []
    for _ in range(1 + rounds):
        began = time.perf_counter()
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - began)
    return {"ours": seconds[1:]}


def _session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
