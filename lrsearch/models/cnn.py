"""A small convolutional network."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn


class CNN(nn.Module):
    """Three convolutions with batch norm, two max-poolings, then the linear layer `head`.

    The convolutions have `width`, 2 `width` and 4 `width` channels.
    """

    def __init__(
        self, input_shape: Sequence[int], n_outputs: int, width: int = 32, dropout: float = 0.0
    ) -> None:
        super().__init__()
        channels = [input_shape[0], width, 2 * width, 4 * width]
        layers: list[nn.Module] = []
        for index, (before, after) in enumerate(pairwise(channels)):
            layers += [
                nn.Conv2d(before, after, 3, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
            if index < 2:
                layers.append(nn.MaxPool2d(2))
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(channels[-1], n_outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The outputs, N×n_outputs, for a batch N×C×H×W of any real type."""
        out: torch.Tensor = self.head(self.body(x.to(self.head.weight.dtype)))
        return out
