"""Express a recipe of another study as a trial of a space, where it fits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lrsearch.recipe import Recipe
from lrsearch.space.domains import Domain
from lrsearch.space.names import ParameterName
from lrsearch.space.space import Space
from lrsearch.text.hints import as_given


def refit(space: Space, recipe: Recipe) -> tuple[dict[str, Any], list[str]]:
    """Return the parameters with which a trial of `space` trains this recipe, and the problems.

    A recipe fits where each parameter lies within its domain and equals what the space fixes.
    """
    parameters: dict[str, Any] = {}
    problems: list[str] = []

    def choose(name: str, domain: Domain) -> Any:
        stored = ParameterName.parse(name)
        if stored.is_reference:
            value = recipe.lr / space.coupling.factor(recipe.batch_size)
        else:
            value = stored.value_in(recipe)
        if problem := domain.problem(value):
            problems.append(f"{name}: {problem}")
            return domain.ends()[0]
        parameters.update(domain.stored(name, value))
        return value

    rebuilt = space.recipe(choose)
    if not problems:
        problems += _differences(_flat(recipe.to_dict()), _flat(rebuilt.to_dict()))
    return parameters, problems


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return [
        f"{key} was {as_given(old.get(key))} and is {as_given(new.get(key))} here"
        for key in sorted(old.keys() | new.keys())
        if not _same(old.get(key), new.get(key)) and key != "lr_ref"
    ]


def _same(old: Any, new: Any) -> bool:
    if isinstance(old, float) and isinstance(new, int | float):
        # A coupled rate goes through the reference batch size and back.
        return math.isclose(old, new, rel_tol=1e-9)
    return bool(old == new)


def _flat(plain: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in plain.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}.{inner}": item for inner, item in value.items()}
        else:
            flat[key] = value
    return flat
