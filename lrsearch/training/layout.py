"""The order of a model's tensors in memory, and the compilation of its code."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from lrsearch.data.nesting import map_tensors

if TYPE_CHECKING:
    from lrsearch.training.settings import TrainSettings

Forward = Callable[[torch.Tensor], torch.Tensor]


def prepared_forward(model: torch.nn.Module, settings: TrainSettings) -> Forward:
    """Compile a model in place, as `settings` say, and return the function that applies it.

    With `channels_last`, inputs of the shape N×C×H×W are laid out with the channels last first; the
    model's own weights are so by then.
    """
    if settings.compile_mode is not None:
        model.compile(mode=settings.compile_mode)
    return laid_out(model, settings)


def laid_out(forward: Forward, settings: TrainSettings) -> Forward:
    """The function that applies a model to inputs in the order of memory that `settings` say."""
    if not settings.channels_last:
        return forward
    return lambda x: forward(channels_last(x))


def in_layout(batch: Any, is_channels_last: bool) -> Any:
    """A batch whose images have their channels last in memory, if that is so for the model.

    Of a batch (x, y) this concerns the inputs alone.
    """
    if not is_channels_last:
        return batch
    if isinstance(batch, tuple) and len(batch) == 2 and isinstance(batch[0], torch.Tensor):
        return channels_last(batch[0]), batch[1]
    return map_tensors(channels_last, batch)


def channels_last(x: torch.Tensor) -> torch.Tensor:
    """Images with their channels last in memory; other tensors unchanged."""
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x
