"""What is searched in the simulator: a space of lrsearch's, and a curve for each of its recipes."""

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
    """Validation losses, one an evaluation; fewer than all where it diverged."""
    rates: Sequence[float]
    """The learning rate at the end of each evaluation of the whole training."""

    @property
    def diverged(self) -> bool:
        """Whether it broke off."""
        return len(self.values) < len(self.rates)


class Problem(Protocol):
    """A space with curves. Losses are to be small; the last one of a curve counts."""

    name: str
    space: Space
    evaluations: int
    best: float
    """The best last loss of many random settings: regret 0."""
    median: float
    """Their median: regret 1."""

    def curve(self, recipe: Recipe, parameters: Mapping[str, Any]) -> Curve:
        """The whole training of a recipe, and of the parameters that make it."""


def regret(problem: Problem, value: float) -> float:
    """How far a last loss is from the best one: 1 is as far as the median."""
    return (value - problem.best) / (problem.median - problem.best)


def sampled(space: Space, rng: random.Random) -> tuple[Recipe, dict[str, Any]]:
    """A random recipe, and the parameters that make it."""
    parameters: dict[str, Any] = {}

    def choose(name: str, domain: Domain) -> Any:
        value = domain.sample(rng)
        parameters.update(domain.stored(name, value))
        return value

    return space.recipe(choose), parameters
