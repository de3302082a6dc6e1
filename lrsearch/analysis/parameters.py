"""Parameters of the space that a recipe has values of, by their stored names."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from lrsearch.analysis.study_data import StudyData
from lrsearch.config.load import stored_settings
from lrsearch.recipe import Recipe
from lrsearch.settings import Settings
from lrsearch.space.domains import Domain, FloatRange, IntRange, PowersOfTwo
from lrsearch.space.names import ParameterName
from lrsearch.space.space import Space


@dataclass(frozen=True)
class SearchedParameter:
    """A searched parameter of a recipe: its domain and its value."""

    name: str
    """As stored: `lr`, `adamw.lr`, `cosine.final`, `model.dropout`."""
    domain: Domain
    value: Any


def label(value: Any) -> str | float:
    """A number, or the text of anything else."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    return value if isinstance(value, str) else json.dumps(value)


def settings_of(study: StudyData) -> Settings:
    """The settings that a study is stored with. Raises ConfigErrors if this lrsearch cannot."""
    return stored_settings(study.config)


def searched_parameters(space: Space, recipe: Recipe) -> tuple[SearchedParameter, ...]:
    """Return the searched parameters of a recipe, in the order of the space."""
    found: list[SearchedParameter] = []

    def choose(name: str, domain: Domain) -> Any:
        found.append(SearchedParameter(name, domain, ParameterName.parse(name).value_in(recipe)))
        return found[-1].value

    space.recipe(choose)
    return tuple(found)


def is_log(domain: Domain) -> bool:
    """Whether values of a range are searched by their logarithm."""
    return isinstance(domain, PowersOfTwo) or (
        isinstance(domain, (FloatRange, IntRange)) and domain.log
    )


def position(domain: Domain, value: Any) -> float | None:
    """Where in its range a value lies, from 0 to 1; None where there is no range."""
    if not isinstance(domain, (FloatRange, IntRange, PowersOfTwo)) or domain.low == domain.high:
        return None
    low, high, at = float(domain.low), float(domain.high), float(value)
    if is_log(domain):
        low, high, at = math.log(low), math.log(high), math.log(at)
    return min(1.0, max(0.0, (at - low) / (high - low)))
