"""How sensitive training is to the learning rate: the width of the good basin."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from lrsearch.analysis.response import Curve, fit_curve
from lrsearch.analysis.scaling import Scaling
from lrsearch.analysis.study_data import StudyData
from lrsearch.analysis.tries import Try, gathered, tries_of

TOLERANCE = 0.05
LEAST_COMPLETE = 5

By = Literal["scheduler", "batch_size"]


@dataclass(frozen=True)
class GoodRates:
    """The learning rates within 5 % of the best, by the fitted curve of one group of trials."""

    optimizer: str
    by: By
    group: str
    """Scheduler name or batch size that the trials share."""
    complete: int
    pruned: int
    """Pruned trials that count with their forecast."""
    curve: Curve | None
    """None where the trials are too few to tell."""
    aligned: bool = False
    """Whether the rates are those at one batch size, of several whose optima are known to move."""

    @property
    def width(self) -> float | None:
        """High over low; None where the trials are too few to tell."""
        return None if self.curve is None else self.curve.basin.width

    @property
    def title(self) -> str:
        """Name of the group of trials."""
        what = self.group if self.by == "scheduler" else f"batch size {self.group}"
        return f"{self.optimizer} with {what}"


@dataclass(frozen=True)
class Response:
    """The fitted curve of all trials of an optimizer."""

    optimizer: str
    curve: Curve
    several_sizes: bool
    """Whether the trials have several batch sizes."""
    aligned: bool
    """Whether rates of other batch sizes were moved by the exponent to the curve's batch size."""


@dataclass(frozen=True)
class Basins:
    """Basins per optimizer and scheduler, and per optimizer and batch size."""

    rows: tuple[GoodRates, ...]
    fixed: float | None
    """The learning rate where all trials had the same one."""
    responses: tuple[Response, ...] = ()
    forecast: Mapping[int, float] = field(default_factory=dict)
    """Values of pruned trials, by number, with which they count."""


def find_basins(study: StudyData, scaling: Scaling, forecast: Mapping[int, float]) -> Basins:
    """Find the learning-rate basins of a study.

    Where it is known how the best rate moves with the batch size, rates of other batch sizes are
    moved to the one that was tried most often. `forecast` are the values that pruned trials would
    have reached, by trial number.
    """
    tries = tries_of(study, forecast)
    by_optimizer: dict[str, list[Try]] = defaultdict(list)
    groups: dict[tuple[By, str, str], list[Try]] = defaultdict(list)
    for one in tries:
        recipe = one.recipe
        by_optimizer[recipe.optimizer.name].append(one)
        groups["scheduler", recipe.optimizer.name, recipe.scheduler.name].append(one)
        groups["batch_size", recipe.optimizer.name, str(recipe.batch_size)].append(one)
    rows = [_row(*key, group, scaling) for key, group in groups.items()]
    rows.sort(key=lambda row: (row.by != "scheduler", row.optimizer, _natural(row.group)))
    responses = [_response(name, group, scaling) for name, group in by_optimizer.items()]
    rates = {trial.recipe.lr for trial in study.trials if trial.recipe is not None}
    return Basins(
        rows=tuple(rows),
        fixed=rates.pop() if len(rates) == 1 else None,
        responses=tuple(response for response in responses if response is not None),
        forecast=forecast,
    )


def _natural(group: str) -> tuple[int, str]:
    return (int(group), "") if group.isdigit() else (0, group)


def _row(by: By, optimizer: str, group: str, tries: Sequence[Try], scaling: Scaling) -> GoodRates:
    complete = sum(one.complete for one in tries)
    return GoodRates(
        optimizer=optimizer,
        by=by,
        group=group,
        complete=complete,
        pruned=len(tries) - complete,
        curve=_curve(optimizer, tries, scaling) if complete >= LEAST_COMPLETE else None,
        aligned=_aligned(optimizer, tries, scaling),
    )


def _response(optimizer: str, tries: Sequence[Try], scaling: Scaling) -> Response | None:
    curve = _curve(optimizer, tries, scaling)
    if curve is None:
        return None
    several = _several_sizes(tries)
    return Response(optimizer, curve, several, _aligned(optimizer, tries, scaling))


def _several_sizes(tries: Sequence[Try]) -> bool:
    return len({one.recipe.batch_size for one in tries}) > 1


def _aligned(optimizer: str, tries: Sequence[Try], scaling: Scaling) -> bool:
    return scaling.fit_of(optimizer) is not None and _several_sizes(tries)


def _curve(optimizer: str, tries: Sequence[Try], scaling: Scaling) -> Curve | None:
    fit = scaling.fit_of(optimizer)
    return fit_curve(gathered(tries), fit.exponent if fit else 0.0, TOLERANCE)
