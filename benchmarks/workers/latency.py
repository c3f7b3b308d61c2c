"""One image at a time through ONNX Runtime and through PyTorch, the same model."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

WARM_UP = 200
Call = Callable[[], object]


def export(recipe: str, prepared: str, folder: str) -> dict[str, float]:
    """Writes a recipe's network with fresh weights, as checkpoint and as ONNX."""
    import torch

    from benchmarks.workers.params import params_of
    from reprovision.data.dataset import load_info
    from reprovision.exporting.onnx import export_onnx
    from reprovision.models.checkpoint import load_checkpoint, save_checkpoint
    from reprovision.models.classifier import build_model

    params, info = params_of(recipe), load_info(prepared)
    torch.manual_seed(0)
    classifier = build_model(params.model, info.shape, len(info.classes), info.mean, info.std)
    path = Path(folder) / f"{recipe}.safetensors"
    save_checkpoint(path, classifier, params.model, info)
    export_onnx(load_checkpoint(path), path.with_suffix(".onnx"))
    return {"kib": path.with_suffix(".onnx").stat().st_size / 1024}


def eager(path: str, calls: int, side: int, threads: int | None = None) -> dict[str, float]:
    """PyTorch, in inference mode."""
    import torch

    from reprovision.models.checkpoint import load_checkpoint

    if threads:
        torch.set_num_threads(threads)
    classifier = load_checkpoint(f"{path}.safetensors").classifier
    pixels = torch.from_numpy(_image(side))
    with torch.inference_mode():
        return _time(lambda: classifier(pixels).softmax(1), calls)


def onnx(path: str, calls: int, side: int, threads: int | None = None) -> dict[str, float]:
    """ONNX Runtime; without `threads` all of its options are as they come."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if threads:
        options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        f"{path}.onnx", options, providers=["CPUExecutionProvider"]
    )
    pixels = _image(side)
    return _time(lambda: session.run(None, {"pixels": pixels}), calls)


def _image(side: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (1, 1, side, side), np.uint8)


def _time(call: Call, calls: int) -> dict[str, float]:
    """Microseconds a call: median and 95th percentile."""
    for _ in range(WARM_UP):
        call()
    nanoseconds = np.empty(calls)
    for index in range(calls):
        began = time.perf_counter_ns()
        call()
        nanoseconds[index] = time.perf_counter_ns() - began
    p50, p95 = np.percentile(nanoseconds, (50, 95)) / 1000
    return {"p50_us": float(p50), "p95_us": float(p95)}
