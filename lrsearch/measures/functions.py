"""Metrics that torch does not have, as functions of (outputs, targets), and weights of losses.

The functions are copied unchanged into exported scripts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def accuracy(
    outputs: torch.Tensor, targets: torch.Tensor, ignore_index: int = -100
) -> torch.Tensor:
    """Share of samples whose highest output is the class: outputs N×C×…, targets N×…."""
    counted = targets != ignore_index
    right = (outputs.argmax(dim=1) == targets) & counted
    # The factor is exactly 1 where all count.
    return right.float().mean() * (targets.numel() / counted.sum())


def top5_accuracy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Share of samples whose class is among the five highest outputs N×C; targets N."""
    best = outputs.topk(min(5, outputs.shape[1]), dim=1).indices
    return (best == targets[:, None]).any(dim=1).float().mean()


def label_accuracy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Share of labels, N×…, that are 1 where the output is above 0 and 0 elsewhere."""
    return ((outputs > 0) == (targets > 0.5)).float().mean()


def sample_f1(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean over samples of the F1 of their labels, N×…; 0 where neither has a label."""
    found, labels = (outputs > 0).flatten(1), (targets > 0.5).flatten(1)
    both, either = (found & labels).sum(1), found.sum(1) + labels.sum(1)
    return (2 * both / either.clamp(min=1)).mean()


def weight_of_classes(
    targets: torch.Tensor, weight: torch.Tensor | None = None, ignore_index: int = -100
) -> torch.Tensor:
    """The sum of the weights of targets N×…, classes, by which their mean loss is divided."""
    import torch

    counted = targets != ignore_index
    exact = torch.float32 if targets.is_mps else torch.float64
    if weight is None:
        return counted.sum(dtype=exact)
    return weight.to(exact)[targets.where(counted, 0)].mul(counted).sum()


def weights_like(weights: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
    """Weights of axis 1 of outputs N×C×…, of shape C, in the type that losses compute in."""
    import torch

    is_mixed = torch.is_autocast_enabled(outputs.device.type)
    return weights.to(torch.float32 if is_mixed else outputs.dtype)


def pos_weights_like(weights: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
    """The same, of a shape that is multiplied with outputs N×C×…: C×1×…."""
    return weights_like(weights, outputs).view(-1, *[1] * (outputs.dim() - 2))
