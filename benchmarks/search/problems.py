"""Problems for the simulator: a space of lrsearch, and a curve for each of its recipes."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lrsearch.recipe import Recipe
from lrsearch.space.domains import Domain
from lrsearch.space.space import Space


@dataclass(frozen=True)
class Curve:
    """A training that has been recorded, or is predicted."""

    values: Sequence[float]
    """Validation losses, one for each evaluation; fewer where it diverged."""
    rates: Sequence[float]
    """The learning rate at the end of each evaluation of the whole training."""

    @property
    def diverged(self) -> bool:
        """Whether the training diverged."""
        return len(self.values) < len(self.rates)


class Problem(Protocol):
    """A space with curves of losses to minimize; the last one of a curve counts."""

    name: str
    space: Space
    evaluations: int
    best: float
    """Best last loss of many random settings; it has regret 0."""
    median: float
    """Median of their last losses; it has regret 1."""

    def curve(self, recipe: Recipe, parameters: Mapping[str, Any]) -> Curve:
        """Return the whole training of a recipe, which `parameters` give."""


def regret(problem: Problem, value: float) -> float:
    """Return the distance of a last loss from the best, in units of the median's."""
    return (value - problem.best) / (problem.median - problem.best)


def sampled(space: Space, rng: random.Random) -> tuple[Recipe, dict[str, Any]]:
    """Return a random recipe, and its parameters."""
    parameters: dict[str, Any] = {}

    def choose(name: str, domain: Domain) -> Any:
        value = domain.sample(rng)
        parameters.update(domain.stored(name, value))
        return value

    return space.recipe(choose), parameters
