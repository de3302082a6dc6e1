"""The weights of the best evaluation of a training so far."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch


class BestWeights:
    """Keeps a copy, on the CPU, of the weights at the first of the best evaluations."""

    def __init__(self, mode: str) -> None:
        """`mode` says whether lower (`min`) or higher (`max`) values are better."""
        self._sign = 1.0 if mode == "min" else -1.0
        self._loss = math.inf
        self.weights: dict[str, torch.Tensor] | None = None
        """None as long as no value was finite."""

    def evaluated(self, value: float, weights: Mapping[str, torch.Tensor]) -> None:
        """Keep the weights that were evaluated if their value is better than all before.

        A value that is not finite is worse than any number.
        """
        loss = self._sign * value
        if math.isfinite(value) and loss < self._loss:
            self._loss = loss
            self.weights = {name: _copy(entry) for name, entry in weights.items()}

    def state_dict(self) -> dict[str, Any]:
        """The state that `load_state_dict` needs, loadable with `weights_only=True`."""
        return {"loss": self._loss, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of `state_dict`."""
        self._loss, self.weights = state["loss"], state["weights"]


def _copy(entry: Any) -> Any:
    """Copy an entry of a state dict; most are tensors, which go to the CPU."""
    if isinstance(entry, torch.Tensor):
        return entry.detach().to("cpu", copy=True)
    return copy.deepcopy(entry)
