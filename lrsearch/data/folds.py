"""Cross-validation: the pool of training and validation samples in folds of equal size."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def fold_numbers(y: torch.Tensor, folds: int, seed: int) -> torch.Tensor:
    """Return the fold of each sample of a pool with targets `y`: int64 of shape N, from 0.

    The samples are dealt out at random, by a seed. Where the targets are numbers of classes, shape
    N, each class is spread evenly over the folds. All folds have floor(N / folds) samples; the few
    that remain are in no fold, have the number -1, and are trained on always.
    """
    import torch

    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    if y.dim() == 1 and not y.is_floating_point() and not y.is_complex():
        order = order[y[order].argsort(stable=True)]
    dealt = order[: len(y) // folds * folds]
    numbers = torch.full((len(y),), -1)
    numbers[dealt] = torch.arange(len(dealt)) % folds
    return numbers


def fold_parts(
    x: torch.Tensor, y: torch.Tensor, numbers: torch.Tensor, fold: int
) -> tuple[torch.Tensor, ...]:
    """Return (train_x, train_y, validation_x, validation_y), in the pool's order, for a fold.

    `numbers` is the fold of each sample, on the device of `x` and `y`.
    """
    validation = numbers == fold
    return x[~validation], y[~validation], x[validation], y[validation]
