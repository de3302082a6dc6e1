"""MNIST as the examples of Optuna and Ray Tune read it: a Dataset, transforms, a DataLoader."""

from __future__ import annotations

import torch
from task import PIXEL_MEAN, PIXEL_STD, split_indices
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, transforms


def get_mnist(
    root: str, batch_size: int, num_workers: int = 0
) -> tuple[DataLoader[object], DataLoader[object]]:
    """Return loaders of the training and the validation part."""
    transform = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize((PIXEL_MEAN,), (PIXEL_STD,))]
    )
    dataset = datasets.MNIST(root, train=True, transform=transform)
    train, validation = (Subset(dataset, part.tolist()) for part in split_indices())
    return (
        # All contestants leave out the incomplete last batch: the same number of steps.
        DataLoader(train, batch_size, shuffle=True, drop_last=True, num_workers=num_workers),
        DataLoader(validation, batch_size, num_workers=num_workers),
    )


def validate(model: torch.nn.Module, loader: DataLoader[object]) -> float:
    """Return the mean loss."""
    total, count = 0.0, 0
    model.eval()
    with torch.no_grad():
        for data, target in loader:
            total += cross_entropy(model(data), target, reduction="sum").item()
            count += len(target)
    return total / count
