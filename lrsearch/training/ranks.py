"""The processes that train one model together by torch's DistributedDataParallel.

Each rank has a replica of the model on a device of its own, and trains on its share of every
batch. Rank 0 evaluates, saves and reports.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

LONGEST_WAIT = timedelta(days=7)
"""Time for which a rank waits for another, which may be evaluating or saving. What hangs is ended
by `queue.stall_timeout`."""

T = TypeVar("T")


class Ranks:
    """The ranks of one training; by default a single one, which needs no process group."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size
        # Decisions travel over the CPU, so that no GPU is waited for.
        self._on_cpu: Any = (
            dist.new_group(backend="gloo", timeout=LONGEST_WAIT) if size > 1 else None
        )

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    def parallel(self, model: nn.Module, compute: Callable[..., torch.Tensor]) -> Any:
        """A function that computes a loss, whose backward pass averages gradients over the ranks.

        `compute` is the function of a batch that one rank alone calls. It may use the model as it
        likes: call it several times, or other methods than `forward`.
        """
        if self.size == 1:
            return compute
        # Parameters that a model does not use in every step would else end the training.
        return DistributedDataParallel(_Loss(model, compute), find_unused_parameters=True)

    def accumulating(self, loss: Any, is_last: bool) -> AbstractContextManager[object]:
        """The context of one piece of a batch, where `loss` is what `parallel` has returned.

        Gradients are averaged over the ranks in the pass of the last piece alone.
        """
        if self.size == 1 or is_last:
            return nullcontext()
        context: AbstractContextManager[object] = loss.no_sync()
        return context

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """The sum of the ranks' values."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def decided(self, decision: bool) -> bool:
        """The decision of rank 0."""
        if self.size == 1:
            return decision
        flag = torch.tensor(decision)
        dist.broadcast(flag, src=0, group=self._on_cpu)
        return bool(flag)

    def from_first(self, compute: Callable[[], T]) -> T:
        """What rank 0 computes, plain values; the others wait for it."""
        if self.size == 1:
            return compute()
        box: list[Any] = [compute() if self.is_first else None]
        dist.broadcast_object_list(box, src=0, group=self._on_cpu)
        value: T = box[0]
        return value

    def gathered(self, value: T) -> list[T]:
        """The plain values of all ranks, by rank."""
        if self.size == 1:
            return [value]
        box: list[Any] = [None] * self.size
        dist.all_gather_object(box, value, group=self._on_cpu)
        return box


class _Loss(nn.Module):
    """The loss of a model, as a module: torch averages gradients of a module's forward pass."""

    def __init__(self, model: nn.Module, compute: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.model, self.compute = model, compute

    def forward(self, *batch: Any) -> torch.Tensor:
        """The loss of a batch, or of a piece of one."""
        return self.compute(*batch)
