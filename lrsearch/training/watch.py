"""Detect divergence by the loss of each step, without waiting for the device at each step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from lrsearch.text.formatting import number

WINDOW = 25
"""Steps whose losses are read from the device together."""
BLOW_UP = 1e3
"""A finite loss counts as diverged above this multiple of the first loss, or of 0.1 if larger."""


class Diverged(Exception):
    """The loss is not finite, or far above the first one."""

    def __init__(self, step: int, lr: float, loss: float, name: str = "loss") -> None:
        """Say where it was; `name` is that of the loss: `val_loss`, for example."""
        self.step, self.lr, self.loss = step, lr, loss
        super().__init__(
            f"diverged at step {step}: {name} {number(loss)}, learning rate {number(lr)}"
        )


class LossWatch:
    """Collect the loss of each step on the device, and read a window of `WINDOW` losses at a time.

    On a GPU a window is copied in the background and read when the next one is full.
    """

    def __init__(
        self,
        on_losses: Callable[[Sequence[float], Sequence[float]], None] | None = None,
        total: Callable[[torch.Tensor], torch.Tensor] = lambda values: values,
    ) -> None:
        """Start without losses; `on_losses` is called with the rates and losses of each window.

        `total` makes the losses of a window (a vector) from those of this rank.
        """
        self._total = total
        self.total = 0.0
        self.count = 0
        self._on_losses = on_losses
        self._losses: list[torch.Tensor] = []
        self._rates: list[float] = []
        self._first_step = 1
        self._limit = math.inf
        self._pending: tuple[Callable[[], list[float]], list[float], int] | None = None

    def add(self, loss: torch.Tensor, lr: float) -> bool:
        """Add the loss of a step (detached, on the device); return whether the window is full."""
        self._losses.append(loss)
        self._rates.append(lr)
        return len(self._losses) >= WINDOW

    def look(self, wait: bool = False) -> None:
        """Read the losses that were copied so far, or all with `wait`.

        Raises Diverged with the first step that diverged.
        """
        self._check_pending()
        if not self._losses:
            return
        values = self._total(torch.stack(self._losses))
        self._pending = (_to_host(values), self._rates, self._first_step)
        self._first_step += len(self._losses)
        self._losses, self._rates = [], []
        if wait or values.device.type != "cuda":
            self._check_pending()

    def mean(self) -> float:
        """The mean loss since the last call."""
        mean = self.total / self.count if self.count else math.nan
        self.total, self.count = 0.0, 0
        return mean

    def state_dict(self) -> dict[str, Any]:
        """The state that `load_state_dict` needs, as plain values.

        All losses are read first, so it may raise Diverged.
        """
        self.look(wait=True)
        return {
            "total": self.total,
            "count": self.count,
            "first_step": self._first_step,
            "limit": self._limit,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of `state_dict`."""
        self.total, self.count = state["total"], state["count"]
        self._first_step, self._limit = state["first_step"], state["limit"]

    def _check_pending(self) -> None:
        if self._pending is None:
            return
        read, rates, first = self._pending
        self._pending = None
        losses = read()
        if self._on_losses is not None:
            self._on_losses(rates, losses)
        for offset, loss in enumerate(losses):
            if self._limit == math.inf and math.isfinite(loss):
                self._limit = BLOW_UP * max(abs(loss), 0.1)
            if not math.isfinite(loss) or loss > self._limit:
                raise Diverged(first + offset, rates[offset], loss)
            self.total += loss
            self.count += 1

    def check_value(self, loss: float, step: int, lr: float, name: str) -> None:
        """Check a loss that is already on the host. Raises Diverged with its name."""
        if not math.isfinite(loss) or loss > self._limit:
            raise Diverged(step, lr, loss, name)


def _to_host(values: torch.Tensor) -> Callable[[], list[float]]:
    """Start copying values to the host; the returned function waits for the copy and reads it."""
    if values.device.type != "cuda":
        return values.tolist
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    host.copy_(values, non_blocking=True)
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record()

    def read() -> list[float]:
        event.synchronize()
        numbers: list[float] = host.tolist()
        return numbers

    return read
