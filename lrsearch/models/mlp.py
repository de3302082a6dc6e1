"""A multi-layer perceptron."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn


class MLP(nn.Module):
    """A multi-layer perceptron on flattened inputs: ReLU layers, then the linear layer `head`.

    `hidden` has the widths of the ReLU layers; `hidden=()` is a linear model.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        n_outputs: int,
        hidden: Sequence[int] = (256, 128),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        widths = [math.prod(input_shape), *hidden]
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
            if dropout:
                layers.append(nn.Dropout(dropout))
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1], n_outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The outputs, N×n_outputs, for a batch N×… of any real type."""
        out: torch.Tensor = self.head(self.body(x.to(self.head.weight.dtype)))
        return out
