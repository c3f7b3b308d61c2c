"""The loop of PyTorch's transfer-learning tutorial, "Finetuning the ConvNet".

https://docs.pytorch.org/tutorials/beginner/transfer_learning_tutorial.html: its augmentation,
optimizer, schedule and number of epochs; network, pretrained parameters and their normalization are
those of the recipe `photos`.
"""

import time


def tutorial(folder: str, epochs: int) -> dict[str, float]:
    """Seconds of the loop; test accuracy of the last epoch, and the best of all epochs.

    The tutorial keeps the best epoch by the images that it then reports the accuracy of.
    """
    import torch
    from torch import nn, optim
    from torch.optim import lr_scheduler
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    from benchmarks.workers.params import params_of
    from reprovision.models.classifier import Classifier, build_model

    torch.set_num_threads(2)
    torch.manual_seed(0)
    params = params_of("photos", data__source=folder)
    # its own normalization does what the transform does in the tutorial
    model: Classifier = build_model(
        params.model, (3, 224, 224), 2, (0.5,) * 3, (0.5,) * 3, pretrained=True
    )
    to_pixels = [transforms.PILToTensor()]
    augmented = [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip()]
    plain = [transforms.Resize(256), transforms.CenterCrop(224)]
    sets = {
        name: datasets.ImageFolder(f"{folder}/{name}", transforms.Compose([*steps, *to_pixels]))
        for name, steps in (("train", augmented), ("test", plain))
    }
    loaders = {name: DataLoader(s, 4, shuffle=True, num_workers=2) for name, s in sets.items()}
    optimizer = optim.SGD(model.parameters(), lr=0.001, momentum=0.9)
    scheduler = lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)
    loss_function, accuracies = nn.CrossEntropyLoss(), []
    began = time.perf_counter()
    for _ in range(epochs):
        model.train()
        for pixels, labels in loaders["train"]:
            optimizer.zero_grad()
            loss_function(model(pixels), labels).backward()
            optimizer.step()
        scheduler.step()
        model.eval()
        correct = 0
        with torch.no_grad():
            for pixels, labels in loaders["test"]:
                correct += int((model(pixels).argmax(1) == labels).sum())
        accuracies.append(correct / len(sets["test"]))
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "accuracy": accuracies[-1], "best": max(accuracies)}
