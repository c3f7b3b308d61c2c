"""The model of 8-bit integers: nearly the same answers, and a report that says what it costs."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from project import Project, tiny_params
from scipy import stats
from test_onnx import paths_in

from reprovision.core.errors import UserError
from reprovision.data.dataset import Split, load_info, load_split
from reprovision.exporting.int8 import CALIBRATION, check_int8, export_int8, measure_latency
from reprovision.exporting.onnx import export_onnx
from reprovision.models.checkpoint import load_checkpoint, save_checkpoint
from reprovision.models.classifier import build_model
from reprovision.serving.predictor import Predictor

FP32, INT8 = "models/exported/model.onnx", "models/exported/model.int8.onnx"


@pytest.fixture(scope="module")
def model(reproduced_template: Project) -> Path:
    """The model of the tiny digits."""
    return reproduced_template.root / FP32


@pytest.fixture(scope="module")
def test(prepared: Path) -> Split:
    return load_split(prepared, "test")


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory, model: Path, prepared: Path) -> Path:
    """The same, quantized."""
    path = tmp_path_factory.mktemp("int8") / "model.int8.onnx"
    export_int8(model, path, load_split(prepared, "val").images)
    return path


def test_it_is_a_smaller_valid_model_with_the_same_metadata(model: Path, int8: Path) -> None:
    before, after = onnx.load(model), onnx.load(int8)
    onnx.checker.check_model(after, full_check=True)
    assert after.metadata_props == before.metadata_props
    assert (after.graph.input, after.graph.output) == (before.graph.input, before.graph.output)
    # runtimes refuse domains that they don't know
    assert after.opset_import == before.opset_import
    assert int8.stat().st_size < model.stat().st_size
    assert not paths_in(int8)


def test_weights_are_integers_of_seven_bits(int8: Path) -> None:
    weights = {
        tensor.name: onnx.numpy_helper.to_array(tensor)
        for tensor in onnx.load(int8).graph.initializer
        if tensor.name.endswith("weight_quantized")
    }
    assert len(weights) == 3
    for values in weights.values():
        # 8 would give other answers on processors without VNNI
        assert values.dtype == np.int8
        assert np.abs(values.astype(int)).max() <= 64


def test_pixels_are_normalized_and_probabilities_made_in_floating_point(
    int8: Path, test: Split
) -> None:
    operators = [node.op_type for node in onnx.load(int8).graph.node]
    assert operators[operators.index("Cast") :][:4] == ["Cast", "Mul", "Add", "QuantizeLinear"]
    assert operators[-2:] == ["DequantizeLinear", "Softmax"]
    probabilities = Predictor(int8).probabilities(test.images)
    assert probabilities.sum(1) == pytest.approx(1, abs=1e-6)
    assert probabilities.min() > 0


def test_nearly_all_images_get_the_same_class_and_the_report_counts_them(
    model: Path, int8: Path, test: Split
) -> None:
    fp32, other = (Predictor(path).probabilities(test.images).argmax(1) for path in (model, int8))
    found = check_int8(model, int8, test, 0.01)
    assert found.changed == (fp32 != other).sum() <= 6
    assert found.accuracy_fp32 == (fp32 == test.labels).mean() > 0.6
    assert found.accuracy_int8 == (other == test.labels).mean()
    assert found.bytes_fp32 == len(model.read_bytes())
    assert found.bytes_int8 == len(int8.read_bytes())


def blank_calibration(model: Path, test: Split, path: Path) -> Path:
    """A model whose activations were expected to be those of blank images, and saturate."""
    export_int8(model, path, np.zeros_like(test.images))
    return path


def test_a_model_that_loses_accuracy_is_refused(model: Path, test: Split, tmp_path: Path) -> None:
    path = blank_calibration(model, test, tmp_path / "model.int8.onnx")
    fp32, other = (Predictor(p).probabilities(test.images).argmax(1) for p in (model, path))
    drop = float((fp32 == test.labels).mean() - (other == test.labels).mean())
    assert drop > 0.1
    with pytest.raises(UserError, match=r"^int8 lowers the accuracy over the 300 test images from"):
        check_int8(model, path, test, drop - 0.001)
    found = check_int8(model, path, test, drop + 0.001)
    assert found.changed == (fp32 != other).sum()
    was, now = fp32 == test.labels, other == test.labels
    table = [(now & ~was).sum(), (was & ~now).sum()]
    assert found.p == stats.binomtest(int(table[0]), int(sum(table))).pvalue
    assert set(found.report()) == {
        *("accuracy_fp32", "accuracy_int8", "changed_predictions", "mcnemar_p"),
        *("bytes_fp32", "bytes_int8"),
    }


def test_the_calibration_sees_images_of_all_classes_where_they_are_sorted(
    model: Path, int8: Path, prepared: Path, tmp_path: Path
) -> None:
    val = load_split(prepared, "val").images
    # the first class's are blank
    blank = np.zeros((CALIBRATION, *val.shape[1:]), np.uint8)
    export_int8(model, tmp_path / "model.onnx", np.concatenate([blank, np.repeat(val, 256, 0)]))
    found = check_int8(model, tmp_path / "model.onnx", load_split(prepared, "test"), 0.01)
    assert found.changed <= 6


EXPORT = """
import sys
from pathlib import Path
import numpy as np
from reprovision.exporting.int8 import export_int8

export_int8(Path(sys.argv[1]), Path("model.int8.onnx"), np.load(sys.argv[2]))
"""


def test_the_same_model_gives_the_same_bytes_and_nothing_is_printed(
    model: Path, int8: Path, prepared: Path, tmp_path: Path
) -> None:
    # another process hashes in another order
    environment = os.environ | {"PYTHONHASHSEED": "1"}
    images = prepared / "val/images.npy"
    command = [sys.executable, "-c", EXPORT, str(model), str(images)]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")
    assert (tmp_path / "model.int8.onnx").read_bytes() == int8.read_bytes()


NETWORKS = [
    {"name": "mlp", "hidden": []},
    {"name": "mlp", "hidden": [20], "activation": "gelu"},
    {"conv.batch_norm": True, "conv.layers_per_stage": 2, "activation": "silu"},
    {"conv.channels": [4, 6], "conv.residual": True, "conv.batch_norm": True},
    {"conv.channels": [4, 4], "conv.global_pool": True},
]


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("changes", NETWORKS, ids=lambda c: "-".join(map(str, c.values())))
def test_networks_of_all_kinds_can_be_quantized(
    prepared: Path,
    tmp_path: Path,
    test: Split,
    changes: dict[str, object],
    flip: bool,
    capfd: pytest.CaptureFixture[str],
) -> None:
    params = tiny_params(**{f"model.{key}": value for key, value in changes.items()}).model
    info = load_info(prepared)
    torch.manual_seed(0)
    network = build_model(params, info.shape, 10, info.mean, info.std)
    save_checkpoint(tmp_path / "checkpoint", network, params, info)
    fp32, int8 = tmp_path / "model.onnx", tmp_path / "model.int8.onnx"
    export_onnx(load_checkpoint(tmp_path / "checkpoint"), fp32, flip)
    capfd.readouterr()
    export_int8(fp32, int8, load_split(prepared, "train").images)
    first, second = (Predictor(path).probabilities(test.images) for path in (fp32, int8))
    assert second == pytest.approx(first, abs=0.02)
    assert capfd.readouterr() == ("", "")


def test_latencies_are_milliseconds_of_one_image(model: Path, int8: Path, test: Split) -> None:
    found = measure_latency(model, int8, test.images)
    assert set(found) == {"ms_fp32", "ms_int8"}
    assert all(0.001 < value < 100 for value in found.values())


# ---- in the pipeline


def test_without_it_nothing_is_written_or_reported(reproduced_template: Project) -> None:
    assert reproduced_template.params()["export"]["quantize"] == "none"
    assert not (reproduced_template.root / INT8).exists()
    report = reproduced_template.json("results/export.json")
    assert set(report) == {"images", "same_predictions"}
    card = (reproduced_template.root / "models/exported/README.md").read_text()
    assert "model.int8.onnx" not in card


@pytest.mark.slow
@pytest.mark.ci
def test_the_pipeline_writes_it_reports_it_and_others_take_it(reproduced: Project) -> None:
    before = {name: reproduced.outputs()[name] for name in (FP32, "results/test.json")}
    reproduced.set_params(**{"export.quantize": "int8"})
    output = reproduced.repro().stdout
    assert "model.int8.onnx, " in output
    assert {name: reproduced.outputs()[name] for name in before} == before

    test = load_split(reproduced.root / "data/prepared", "test")
    fp32, int8 = reproduced.root / FP32, reproduced.root / INT8
    found = check_int8(fp32, int8, test, 0.01)
    report = reproduced.json("results/export.json")["int8"]
    assert report == found.report()
    card = (reproduced.root / "models/exported/README.md").read_text()
    assert f"its accuracy is {found.accuracy_int8:.2%} instead of {found.accuracy_fp32:.2%}" in card
    (run,) = (r for r in reproduced.runs() if r.data.params["export.quantize"] == "int8")
    logged = {k.removeprefix("export_"): v for k, v in run.data.metrics.items() if "export_" in k}
    assert set(logged) - set(report) == {"max_difference", "ms_fp32", "ms_int8"}
    assert logged == logged | report

    image = reproduced.root / "digit.png"
    Image.fromarray(test.images[0, 0]).save(image)
    done = reproduced.run("reprovision", "predict", "--csv", "--model", INT8, str(image))
    best = Predictor(int8).probabilities(test.images[:1])[0].argmax()
    assert done.stdout.splitlines()[1].split(",")[1] == str(best)
    tested = reproduced.run("reprovision", "evaluate", INT8, "--source", "data/digits.yaml")
    assert "accuracy" in tested.stdout
