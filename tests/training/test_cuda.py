"""Training on an NVIDIA GPU: `uv run pytest -m cuda`."""

import pytest
import torch
from conftest import MakeProject

pytestmark = [
    pytest.mark.slow,
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]

ON_CUDA = {
    "numerics": "native",
    "train.device": "cuda",
    "train.precision": "auto",
    "train.epochs": 8,
    "train.ema": 0.9,
    "model.conv.batch_norm": True,
    "train.augment.shift": 0.05,
    "train.augment.mixup": 0.2,
}


def test_the_same_params_give_the_same_bytes_twice(make_project: MakeProject) -> None:
    first, second = (make_project(**ON_CUDA) for _ in range(2))
    for project in (first, second):
        output = project.repro().stdout
        assert f"device {torch.cuda.get_device_name()}" in output
    assert first.outputs() == second.outputs()


def test_a_gpu_learns_what_a_processor_does(make_project: MakeProject) -> None:
    gpu, processor = make_project(**ON_CUDA), make_project(**(ON_CUDA | {"train.device": "cpu"}))
    accuracies = []
    for project in (gpu, processor):
        project.repro()
        accuracies.append(project.json("results/test.json")["accuracy"])
    assert accuracies[0] == pytest.approx(accuracies[1], abs=0.05)


def test_the_compiled_network_learns_too(make_project: MakeProject) -> None:
    project = make_project(**ON_CUDA, **{"train.compile": True})
    project.repro()
    assert project.json("results/test.json")["accuracy"] > 0.6


@pytest.mark.parametrize("name", ["resnet18", "vgg11_bn", "mobilenet_v3_small", "vit_b_16"])
def test_networks_of_torchvision_are_deterministic(make_project: MakeProject, name: str) -> None:
    project = make_project(
        **(ON_CUDA | {"train.epochs": 1, "model.name": name}),
        **{"data.image_size": 224, "data.channels": 3},
    )
    project.repro("train")


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there are no two CUDA devices")
def test_two_gpus_train_one_network(make_project: MakeProject) -> None:
    project = make_project(**ON_CUDA, **{"train.processes": 2})
    assert "processes 2" in project.repro().stdout
    assert project.json("results/test.json")["accuracy"] > 0.6
