"""The fixed split and the normalisation; exported scripts contain the source of both."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def split(
    n: int, validation: float, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices of the training and the validation part of `n` samples; no sample is in both.

    `validation` is a number of samples, or a share of them when below 1.
    """
    import torch

    held_out = round(n * validation) if validation < 1 else round(validation)
    held_out = min(max(held_out, 1), n - 1)
    shuffled = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    return shuffled[held_out:], shuffled[:held_out]


def normalised(
    images: list[torch.Tensor],
) -> list[torch.Tensor]:
    """Images N×C×H×W as float32 with mean 0 and deviation 1 per channel of the first part."""
    train = images[0].float()
    mean = train.mean(dim=(0, 2, 3), keepdim=True)
    deviation = train.std(dim=(0, 2, 3), keepdim=True).clamp_min(1e-6)
    return [(part.float() - mean) / deviation for part in images]
