"""Whether the search space is right: best values that lie at an edge of their range."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lrsearch.analysis.parameters import SearchedParameter, is_log, position, searched_parameters
from lrsearch.analysis.study_data import StudyData
from lrsearch.parameters.durations import Duration, Length
from lrsearch.parameters.parameter import Parameter
from lrsearch.settings import Settings
from lrsearch.space.domains import FloatRange, IntRange, PowersOfTwo
from lrsearch.space.space import Space

NEAR = 0.1
LEAST_COMPLETE = 10
_TOP = 10
_MANY = 10_000
_LOG_STEP = 10.0
_POWERS_STEP = 4
_LINEAR_STEP = 0.5
_IN_EVALUATIONS = ("plateau.patience",)


@dataclass(frozen=True)
class Edge:
    """A parameter whose best value lies within 10 % of an end of its range."""

    name: str
    """Stored name of the parameter."""
    value: float
    side: Literal["low", "high"]
    end: float
    wider: float | None
    """Suggested new end of the range; None where the parameter allows no wider range."""
    key: str
    """Configuration key of the end: `space.optimizer.adamw.lr.high`."""
    complete: int
    """Number of complete trials that have the parameter."""
    top: int
    top_of: int
    """How many of a number of best trials lie at this end, too."""
    chance: float
    """Probability that a value drawn at random lies as near to either end."""

    @property
    def override(self) -> str | None:
        """Override that widens the range; None if impossible, and with too few trials."""
        if self.wider is None or self.complete < LEAST_COMPLETE:
            return None
        return f"{self.key}={self.wider:.10g}"


@dataclass(frozen=True)
class Edges:
    """Positions of the best trials in their ranges, and the parameters that lie at an edge."""

    places: tuple[tuple[str, tuple[float, ...]], ...]
    """Parameters that have a range, and where in it (0 to 1) the best trials lie, best first."""
    near: tuple[Edge, ...]
    complete: int = 0
    """Complete trials of the study."""

    @property
    def checked(self) -> tuple[str, ...]:
        """The parameters of the best recipe that have a range."""
        return tuple(name for name, _ in self.places)

    @property
    def overrides(self) -> tuple[str, ...]:
        """Command-line overrides that widen all ranges at whose edge the best value lies."""
        return tuple(edge.override for edge in self.near if edge.override is not None)


def find_edges(study: StudyData, settings: Settings) -> Edges:
    """Compare the best recipe with the space, on a log scale where the search uses one."""
    best = study.ranked[0] if study.ranked else None
    if best is None or best.recipe is None:
        return Edges((), ())
    trials = [
        {
            parameter.name: parameter
            for parameter in searched_parameters(settings.space, trial.recipe)
        }
        for trial in study.ranked
        if trial.recipe is not None
    ]
    n_train = (study.record.get("data") or {}).get("n_train")
    largest = {"batch_size": math.inf if n_train is None else n_train}
    length = None
    if n_train is not None and settings.objective is None:
        length = settings.train.length(best.recipe.batch_size, int(n_train))
    places, near = [], []
    for parameter in searched_parameters(settings.space, best.recipe):
        share = position(parameter.domain, parameter.value)
        if share is None:
            continue
        have = [trial[parameter.name] for trial in trials if parameter.name in trial]
        same = tuple(
            place for it in have[:_TOP] if (place := position(it.domain, it.value)) is not None
        )
        side = _side(share)
        if side is not None:
            edge = _edge(settings.space, parameter, side, same, len(have), largest)
            if _no_difference(settings.space, edge, length):
                continue
            near.append(edge)
        places.append((parameter.name, same))
    return Edges(tuple(places), tuple(near), len(trials))


def _side(share: float) -> Literal["low", "high"] | None:
    if NEAR < share < 1 - NEAR:
        return None
    return "low" if share <= NEAR else "high"


def _edge(
    space: Space,
    parameter: SearchedParameter,
    side: Literal["low", "high"],
    places: tuple[float, ...],
    complete: int,
    largest: Mapping[str, float],
) -> Edge:
    assert isinstance(parameter.domain, (FloatRange, IntRange, PowersOfTwo))
    return Edge(
        name=parameter.name,
        value=float(parameter.value),
        side=side,
        end=float(getattr(parameter.domain, side)),
        wider=_wider(space, parameter, side, largest.get(parameter.name, math.inf)),
        key=f"{space.config_key(parameter.name)}.{side}",
        complete=complete,
        top=sum(_side(place) == side for place in places),
        top_of=len(places),
        chance=_chance(parameter.domain),
    )


def _chance(domain: FloatRange | IntRange | PowersOfTwo) -> float:
    """Return the share of the values of a range that lie within 10 % of either end."""
    step = 1 if isinstance(domain, PowersOfTwo) else domain.step
    if step is None or (domain.high - domain.low) / step > _MANY:
        return 2 * NEAR
    values = domain.grid()
    weights = [1.0] * len(values)
    if isinstance(domain, IntRange) and domain.log:
        weights = [math.log((value + 0.5) / (value - 0.5)) for value in values]
    at_ends = [_side(position(domain, value) or 0.0) is not None for value in values]
    return sum(itertools.compress(weights, at_ends)) / sum(weights)


def _no_difference(space: Space, edge: Edge, length: Length | None) -> bool:
    """Return whether widening the range of a duration gives the same number of steps."""
    if length is None or edge.wider is None or space.parameter(edge.name).kind != "duration":
        return False
    count = length.in_evaluations if edge.name in _IN_EVALUATIONS else length.in_steps
    values = (edge.value, edge.end, edge.wider)
    return len({count(Duration(value, "fraction")) for value in values}) == 1


def _wider(
    space: Space, parameter: SearchedParameter, side: Literal["low", "high"], largest: float
) -> float | None:
    """Return an end further out: ten times as far on a log scale, else by half of the range."""
    domain = parameter.domain
    assert isinstance(domain, (FloatRange, IntRange, PowersOfTwo))
    low, high = float(domain.low), float(domain.high)
    bounds = _bounds(space.parameter(parameter.name))
    if isinstance(domain, PowersOfTwo):
        step: float = _POWERS_STEP
        while side == "high" and step > 1 and high * step > largest:
            step /= 2
    else:
        step = _LOG_STEP
    if is_log(domain):
        end = low / step if side == "low" else high * step
    else:
        by = (high - low) * _LINEAR_STEP
        end = low - by if side == "low" else high + by
        if end <= 0 <= low:  # a range of positive numbers stays positive
            end = low / 2
    end = max(end, bounds[0]) if side == "low" else min(end, bounds[1], largest)
    if isinstance(domain, (IntRange, PowersOfTwo)):
        end = max(1.0, math.floor(end)) if is_log(domain) else float(round(end))
        if isinstance(domain, IntRange) and domain.step > 1:
            end = _whole_steps(end, domain, side)
    beyond = end < low if side == "low" else end > high
    return end if beyond else None


def _whole_steps(end: float, domain: IntRange, side: str) -> float:
    """Move an end inward to a whole number of steps from the other values."""
    steps = math.floor(abs(end - domain.low) / domain.step)
    return domain.low + domain.step * (steps if side == "high" else -steps)


def _bounds(parameter: Parameter) -> tuple[float, float]:
    """Return the limits of a parameter that hold for every space."""
    if parameter.kind == "duration":  # a share of the training
        return 0.0, 1.0
    return parameter.low, parameter.high
