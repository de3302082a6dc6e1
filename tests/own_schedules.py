"""Schedulers of a user's own, as the tests name them by dotted path."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau


def power(progress: float, power: float = 1.0) -> float:
    return (1 - progress) ** power


def below_zero(progress: float) -> float:
    return 1 - 2 * progress


def no_number(progress: float) -> Any:
    return None


def raises(progress: float) -> float:
    return 1 / (0.5 - progress)


class Halving(LRScheduler):
    """Halves the rate every `every` steps."""

    def __init__(self, optimizer: torch.optim.Optimizer, every: int, floor: float = 0.0) -> None:
        self.every, self.floor = every, floor
        super().__init__(optimizer)

    def get_lr(self) -> Any:
        factor = max(self.floor, 0.5 ** (self.last_epoch // self.every))
        return [factor * rate for rate in self.base_lrs]


class Sinking(LRScheduler):
    """Goes below zero."""

    def get_lr(self) -> Any:
        return [rate * (1 - self.last_epoch / 5) for rate in self.base_lrs]


class Unsavable(LRScheduler):
    """Keeps a function, which torch.save cannot write."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.shape = lambda step: 1.0
        super().__init__(optimizer)

    def get_lr(self) -> Any:
        return list(self.base_lrs)


class Impatient(ReduceLROnPlateau):
    """Cuts by half."""

    def __init__(self, optimizer: torch.optim.Optimizer, patience: int = 0) -> None:
        super().__init__(optimizer, factor=0.5, patience=patience)


class NoScheduler:
    """Something else."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
