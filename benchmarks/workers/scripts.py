"""Two scripts that people know, to compare the recipe `fast` with, written anew.

The classic is the network and training of PyTorch's own MNIST example; the other is of the kind
that is tuned for a record: one epoch of a small network over tensors in memory.
"""

import time
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torchvision import transforms

from benchmarks.workers.ours import head
from benchmarks.workers.tutorial import mnist
from reprovision.data.dataset import load_split

MEAN, STD = 0.1307, 0.3081
"""Of MNIST's training pixels in 0..1."""


def classic(target: float, max_epochs: int, images: int | None = None) -> dict[str, float]:
    """Trains until the test accuracy in percent first reaches the target; seconds of training."""
    torch.manual_seed(1)
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((MEAN,), (STD,))])
    train = DataLoader(mnist(True, transform, images), batch_size=64, shuffle=True)
    test = DataLoader(mnist(False, transform, images), batch_size=1000)
    model = _classic_network()
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
    seconds, accuracy, epoch = 0.0, 0.0, 0
    while accuracy < target and epoch < max_epochs:
        began = time.perf_counter()
        model.train()
        for inputs, labels in train:
            optimizer.zero_grad()
            functional.cross_entropy(model(inputs), labels).backward()
            optimizer.step()
        seconds += time.perf_counter() - began
        scheduler.step()
        epoch += 1
        accuracy = _accuracy(model, test)
    return {"seconds": seconds, "accuracy": accuracy, "epochs": epoch}


def tuned(prepared: str, seed: int, images: int | None = None) -> dict[str, float]:
    """One epoch of Adam with one cycle over float32 tensors in memory; seconds of the loop."""
    train, test = (head(load_split(prepared, name), images) for name in ("train", "test"))
    pixels, labels = _normalized(train.images), torch.from_numpy(train.labels)
    torch.manual_seed(seed)
    model = _tuned_network()
    batch, lr = 256, 0.01
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, betas=(0.7, 0.9))
    steps = -(-len(labels) // batch)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lr, total_steps=steps, cycle_momentum=False
    )
    began = time.perf_counter()
    for rows in torch.randperm(len(labels)).split(batch):
        loss = functional.cross_entropy(model(pixels[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    seconds = time.perf_counter() - began
    pairs = zip(
        _normalized(test.images).split(1000), torch.from_numpy(test.labels).split(1000), strict=True
    )
    return {"seconds": seconds, "accuracy": _accuracy(model, pairs)}


def _classic_network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(9216, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, 10),
    )


def _tuned_network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 24, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(24, 32, 3),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(800, 256),
        nn.ReLU(),
        nn.Linear(256, 10),
    )


def _normalized(images: object) -> Tensor:
    return (torch.from_numpy(images).float() / 255 - MEAN) / STD


@torch.no_grad()
def _accuracy(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """In percent."""
    model.eval()
    hits = [(model(inputs).argmax(1) == labels) for inputs, labels in batches]
    return 100 * torch.cat(hits).double().mean().item()
