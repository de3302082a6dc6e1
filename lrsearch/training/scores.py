"""The loss and metrics of a model on a part of the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import torch

from lrsearch.data.parts import Part
from lrsearch.training.batches import evaluation_batches
from lrsearch.training.settings import EVALUATION_BATCH

if TYPE_CHECKING:
    from lrsearch.measures.build import MeasureFunction


def mean_scores(
    forward: Callable[[torch.Tensor], torch.Tensor],
    part: Part,
    measures: Mapping[str, MeasureFunction],
    device: torch.device,
    autocast: AbstractContextManager[object],
    batch: int = EVALUATION_BATCH,
    precision: torch.dtype = torch.float32,
    progress: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """The mean of each measure over all samples, in batches of at most `batch`.

    The data are converted to `precision`, the model's. `progress` is called after each batch. The
    caller puts the model in evaluation mode.
    """
    totals = dict.fromkeys(measures, torch.zeros((), device=device))
    with torch.no_grad():
        for x, y in evaluation_batches(part, batch, device, precision):
            with autocast:
                outputs = forward(x)
                means = {name: measure(outputs, y) for name, measure in measures.items()}
            totals = {name: total + means[name] * len(x) for name, total in totals.items()}
            progress()
    return {name: float(total) / len(part) for name, total in totals.items()}
