"""The modes in which a model and its optimizer train and are evaluated."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import nn


def set_mode(model: nn.Module, optimizer: torch.optim.Optimizer, train: bool) -> None:
    """Switch a model to training or to evaluation, and its optimizer where that has both modes.

    Schedule-free optimizers have them: they train other weights than those that they evaluate
    (Defazio et al. 2024, arXiv 2405.15682).
    """
    begin, end = getattr(optimizer, "train", None), getattr(optimizer, "eval", None)
    if callable(begin) and callable(end):
        (begin if train else end)()
    model.train(train)
