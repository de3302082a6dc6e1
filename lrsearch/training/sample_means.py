"""The values of a loss or metric on each sample, of which its value on the part is the mean."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from lrsearch.evaluation import SampleMeans
from lrsearch.seeds import derived_seed
from lrsearch.training.out_of_memory import is_out_of_memory

if TYPE_CHECKING:
    from lrsearch.measures.build import MeasureFunction

MOST_GROUPS = 500
"""Number of values that are kept. The samples of a larger part are put into groups: with so many
of them, the deviation of a mean is known to about 3 %."""
_TOLERANCE = 1e-3
"""How far a value may be from the mean over samples, relative to their deviation or to the value,
by the rounding of sums in single precision."""


class EachSample:
    """A measure that also takes note of its value on each sample, in the order of the batches."""

    def __init__(self, measure: MeasureFunction) -> None:
        self._measure = measure
        self._values: list[torch.Tensor] = []
        self._fails = False

    def __call__(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Compute the mean over a batch, as the measure itself does."""
        value = self._measure(outputs, targets)
        if not self._fails:
            try:
                self._values.append(_each(self._measure, outputs, targets).detach().float().cpu())
            except Exception as error:
                if is_out_of_memory(error):
                    raise
                self._fails = True  # such as the user's own, which needs several samples
        return value

    def sample_means(self, value: float, name: str, count: int | None) -> SampleMeans:
        """The values on the `count` samples, if `value`, called `name`, is their mean."""
        values = torch.cat(self._values).double() if self._values else torch.zeros(0)
        if self._fails or not len(values) or not _is_mean(value, values):
            return SampleMeans(count, unknown=f"{name} is not a mean over samples")
        return SampleMeans(len(values), tuple(grouped(values)))


def _each(measure: MeasureFunction, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The measure of each sample of a batch, of shape N."""

    def single(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return measure(output[None], target[None]).reshape(())

    try:
        values: torch.Tensor = torch.vmap(single)(outputs, targets)
        return values
    except RuntimeError as error:  # such as a measure that looks at values
        if is_out_of_memory(error):
            raise
    each: Callable[..., torch.Tensor] = single
    return torch.stack([each(*pair) for pair in zip(outputs, targets, strict=True)])


def _is_mean(value: float, values: torch.Tensor) -> bool:
    if not math.isfinite(value) or not bool(values.isfinite().all()):
        return False
    size = max(abs(value), float(values.std(correction=0)))
    return math.isclose(value, float(values.mean()), rel_tol=0.0, abs_tol=_TOLERANCE * size)


def grouped(values: torch.Tensor, most: int = MOST_GROUPS) -> list[float]:
    """The values or, of more than `most`, means of random groups of equally many of them.

    The groups depend on the number of values alone. Samples that are too few for a group more are
    left out.
    """
    size = math.ceil(len(values) / most)
    if size > 1:
        generator = torch.Generator().manual_seed(derived_seed("sample groups", len(values)))
        order = torch.randperm(len(values), generator=generator)
        values = values[order[: len(values) // size * size]].view(-1, size).mean(dim=1)
    # Single precision has no more than seven digits.
    return [float(f"{value:.7g}") for value in values.tolist()]
