"""The values of an evaluation: the loss and metrics of a model on a part of the data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch

from lrsearch.data.nesting import samples_in
from lrsearch.errors import UserError
from lrsearch.training.batches import Batch

if TYPE_CHECKING:
    from lrsearch.measures.build import MeasureFunction

    LossStep = Callable[[Any, Batch], torch.Tensor]
    Evaluate = Callable[[Any, Iterable[Batch]], Mapping[str, Any]]


@runtime_checkable
class Divisible(Protocol):
    """A loss that can be computed in parts, though its mean is not weighed by samples."""

    def part(
        self, outputs: torch.Tensor, targets: torch.Tensor, whole: torch.Tensor
    ) -> torch.Tensor:
        """What some of the targets of a `whole` batch add to its mean."""


@dataclass(frozen=True)
class Measures:
    """What a training is measured by: a loss and metrics, or the user's own functions."""

    loss: MeasureFunction
    metrics: Mapping[str, MeasureFunction] = field(default_factory=dict)
    loss_step: LossStep | None = None
    """The user's function of (model, batch) that returns the loss to train by."""
    evaluate: Evaluate | None = None
    """The user's function of (model, batches) that returns the values of an evaluation."""
    is_pairs: bool = True
    """Whether a batch is (inputs, targets), which `loss` and `metrics` need."""

    def values(
        self,
        model: Callable[..., Any],
        batches: Iterable[Batch],
        autocast: AbstractContextManager[object],
        part: str = "val",
    ) -> dict[str, float]:
        """The values of an evaluation by name: `val_loss`, `val_accuracy`, ...

        Their names begin with `part` and `_`; those of the user's `evaluate` stay, except for
        another part than "val". The caller puts the model in evaluation mode. Raises what
        `checked_values` raises.
        """
        with torch.no_grad():
            if self.evaluate is not None:
                with autocast:
                    returned = self.evaluate(model, batches)
                values = checked_values(returned)
                return values if part == "val" else named_by_part(values, part)
            if not self.is_pairs:
                assert self.loss_step is not None, "the dry pass refuses such batches without one"
                return {f"{part}_loss": _mean_loss(self.loss_step, model, batches, autocast)}
            measures = {f"{part}_loss": self.loss}
            measures |= {f"{part}_{name}": metric for name, metric in self.metrics.items()}
            return mean_scores(model, batches, measures, autocast)


def mean_scores(
    forward: Callable[[torch.Tensor], torch.Tensor],
    batches: Iterable[Batch],
    measures: Mapping[str, MeasureFunction],
    autocast: AbstractContextManager[object],
) -> dict[str, float]:
    """The mean of each measure over all samples of batches (x, y)."""
    totals: dict[str, torch.Tensor] = {}
    n = 0
    for x, y in batches:
        totals = totals or dict.fromkeys(measures, torch.zeros((), device=x.device))
        with autocast:
            outputs = forward(x)
            means = {name: measure(outputs, y) for name, measure in measures.items()}
        totals = {name: total + means[name] * len(x) for name, total in totals.items()}
        n += len(x)
    return {name: float(total) / n for name, total in totals.items()}


def _mean_loss(
    loss_step: LossStep,
    model: Callable[..., Any],
    batches: Iterable[Batch],
    autocast: AbstractContextManager[object],
) -> float:
    """The mean of the user's loss over all samples."""
    total: Any = 0.0
    n = 0
    for batch in batches:
        with autocast:
            loss = loss_step(model, batch)
        size = samples_in(batch)
        total = total + loss.detach().reshape(()) * size
        n += size
    return float(total) / n


def checked_values(returned: Any) -> dict[str, float]:
    """What the user's `evaluate` has returned, as numbers by name. Raises UserError."""
    what = "train.evaluate"
    if not isinstance(returned, Mapping) or not returned:
        kind = "nothing" if isinstance(returned, Mapping) else f"a {type(returned).__name__}"
        raise UserError(f"{what}: it must return {{name: value}}, not {kind}")
    values = {}
    for name, value in returned.items():
        if not isinstance(name, str) or not name.isidentifier() or name == "train_loss":
            raise UserError(
                f"{what}: {name!r} cannot be the name of a value: a name is a word such as "
                f"val_loss or f1, and train_loss is lrsearch's own"
            )
        try:
            values[name] = float(value)
        except (TypeError, ValueError, RuntimeError):
            raise UserError(
                f"{what}: the value of {name} must be one number, not a {type(value).__name__}"
            ) from None
    return values


def named_by_part(values: Mapping[str, float], part: str) -> dict[str, float]:
    """Values under the names that they have for another part: `test_loss`, `test_f1`."""
    return {f"{part}_{name.removeprefix('val_')}": value for name, value in values.items()}
