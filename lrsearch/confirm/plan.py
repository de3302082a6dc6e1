"""Plan of a confirmation: which recipes are trained again, on which seeds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lrsearch.seeds import derived_seed


@dataclass(frozen=True)
class SearchTrial:
    """A complete trial of the search."""

    trial: int
    value: float
    recipe: Mapping[str, Any]


def candidates(
    trials: Sequence[SearchTrial], top: int, mode: Literal["min", "max"]
) -> list[SearchTrial]:
    """Return up to `top` trials with different recipes, the best first."""
    sign = 1.0 if mode == "min" else -1.0
    chosen: dict[str, SearchTrial] = {}
    for trial in sorted(trials, key=lambda trial: (sign * trial.value, trial.trial)):
        chosen.setdefault(json.dumps(trial.recipe, sort_keys=True), trial)
    return [*chosen.values()][:top]


def fresh_seeds(study_seed: int, count: int) -> list[int]:
    """Return the seeds of a confirmation, the same for all candidates.

    A larger `count` only adds seeds to the end.
    """
    return [derived_seed(study_seed, "confirm", k) for k in range(count)]
