"""Metrics that torch does not have, as functions of (outputs, targets)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def accuracy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Share of samples whose highest output is the class: outputs N×C×…, targets N×…."""
    return (outputs.argmax(dim=1) == targets).float().mean()


def top5_accuracy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Share of samples whose class is among the five highest outputs N×C; targets N."""
    best = outputs.topk(min(5, outputs.shape[1]), dim=1).indices
    return (best == targets[:, None]).any(dim=1).float().mean()
