"""The exponential moving average (EMA) of a model's weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch.optim.swa_utils import AveragedModel

    from lrsearch.training.settings import Averaging


def averaged_copy(model: torch.nn.Module, ema: Averaging) -> AveragedModel:
    """Copy a model for the average of its weights; the copy is in evaluation mode.

    Its `update_parameters(model)` is called after each optimizer step; the first call copies the
    weights. Buffers, such as the statistics of batch normalisation, are averaged alike.
    """
    averaged = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=averaging(ema.decay, ema.warmup), use_buffers=True
    )
    averaged.module.eval()
    return averaged


def averaging(decay: float, warmup: bool) -> Callable[[Any, Any, Any], None]:
    """Return the function by which torch's AveragedModel updates its tensors of one type.

    With `warmup`, update n keeps at most the share (1 + n) / (10 + n) of the average.
    """

    ema_of: Any = torch.optim.swa_utils.get_ema_multi_avg_fn

    def update(averages: Sequence[torch.Tensor], now: Sequence[torch.Tensor], count: Any) -> None:
        if not averages[0].is_floating_point() and not averages[0].is_complex():
            for average, tensor in zip(averages, now, strict=True):
                average.copy_(tensor)  # whole numbers, such as counts, are not averaged
            return
        kept = min(decay, (1 + int(count)) / (10 + int(count))) if warmup else decay
        ema_of(kept)(averages, now, count)

    return update
