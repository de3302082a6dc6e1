"""The processes that train one model together by torch's DistributedDataParallel.

Each rank has a replica of the model on a device of its own, and trains on its share of every
batch. Rank 0 evaluates, saves and reports.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")


class Ranks:
    """The ranks of one training; by default a single one, which needs no process group."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size
        # Decisions travel over the CPU, so that no GPU is waited for.
        self._on_cpu: Any = dist.new_group(backend="gloo") if size > 1 else None

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    def share(self, batch: torch.Tensor) -> torch.Tensor:
        """This rank's samples of a batch; the sizes of the shares differ by at most one."""
        return batch if self.size == 1 else batch.tensor_split(self.size)[self.rank]

    def parallel(self, model: Any) -> Any:
        """The model whose backward pass averages the gradients over the ranks."""
        if self.size == 1:
            return model
        device = next(iter(model.parameters())).device
        # Parameters that a model does not use in every step would else end the training.
        return DistributedDataParallel(
            model,
            device_ids=[device] if device.type == "cuda" else None,
            find_unused_parameters=True,
        )

    def accumulating(self, forward: Any, is_last: bool) -> AbstractContextManager[object]:
        """The context of the backward pass of one piece of a batch.

        Gradients are averaged over the ranks in the pass of the last piece alone.
        """
        if self.size == 1 or is_last:
            return nullcontext()
        context: AbstractContextManager[object] = forward.no_sync()
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
