"""The tutorials' way: torchvision's MNIST, transformed one image at a time by a DataLoader."""

import hashlib
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import MNIST

from benchmarks.process import ROOT
from benchmarks.workers.params import params_of
from reprovision.core.params import Params
from reprovision.models.classifier import build_model


def mnist(train: bool, transform: object, images: int | None = None, root: str = "") -> MNIST:
    """MNIST as torchvision has it; from our own downloads, which it unpacks first."""
    root = root or str(ROOT / "data" / "downloads")
    dataset = MNIST(root, train=train, transform=transform, download=True)
    dataset.data, dataset.targets = dataset.data[:images], dataset.targets[:images]
    return dataset


def train(recipe: str, images: int | None = None) -> dict[str, float]:
    """One epoch of a recipe's network, data and optimiser in the tutorials' loop."""
    params = params_of(recipe)
    dataset = mnist(True, _transform(params), images)
    loader = DataLoader(dataset, batch_size=params.train.batch_size, shuffle=True)
    torch.manual_seed(0)
    network = _network(params)
    optimizer = torch.optim.SGD(network.parameters(), params.train.lr, params.train.momentum)
    criterion = nn.CrossEntropyLoss()
    running_loss = 0.0
    began = time.perf_counter()
    for inputs, labels in loader:
        optimizer.zero_grad()
        loss = criterion(network(inputs), labels)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "images_per_second": len(dataset) / seconds}


def evaluate(recipe: str, images: int | None = None) -> dict[str, float]:
    """The test images in batches of 64, after one batch to warm up."""
    params = params_of(recipe)
    dataset = mnist(False, _transform(params), images)
    loader = DataLoader(dataset, batch_size=64)
    network = _network(params).eval()
    correct, total = 0, 0
    with torch.no_grad():
        network(next(iter(loader))[0])
        began = time.perf_counter()
        for inputs, labels in loader:
            predicted = network(inputs).argmax(1)
            total += labels.size(0)
            correct += (predicted == labels).sum().item()
    return {"seconds": time.perf_counter() - began}


def prepare(downloads: str, folder: str, images: int | None = None) -> dict[str, float]:
    """From the archives to files as ours, all that is done to an image done to one at a time.

    It is unpacked, goes through PIL and ToTensor, adds to mean and standard deviation and to a
    digest, and is written as bytes.
    """
    began = time.perf_counter()
    total, squares = torch.zeros(()), torch.zeros(())
    for name, train in (("train", True), ("test", False)):
        dataset = mnist(train, transforms.ToTensor(), images, root=downloads)
        digest, labels = hashlib.sha256(), []
        (Path(folder) / name).mkdir(parents=True)
        with (Path(folder) / name / "images.npy").open("wb") as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": (len(dataset), 1, 28, 28)}
            np.lib.format.write_array_header_1_0(file, header)
            for index in range(len(dataset)):
                image, label = dataset[index]
                total += image.sum()
                squares += image.square().sum()
                content = image.mul(255).round().to(torch.uint8).numpy().tobytes()
                digest.update(content)
                file.write(content)
                labels.append(label)
        np.save(Path(folder) / name / "labels.npy", np.array(labels))
    return {"seconds": time.perf_counter() - began}


def _transform(params: Params) -> transforms.Compose:
    steps: list[object] = [transforms.ToTensor()]
    if params.data.normalize == "half":
        steps.append(transforms.Normalize((0.5,), (0.5,)))
    return transforms.Compose(steps)


def _network(params: Params) -> nn.Module:
    """The recipe's network; its input is scaled by the transform and not in the model."""
    return build_model(params.model, (1, 28, 28), 10, (0.0,), (1.0,)).network
