"""Which runs a confirmation needs: which recipes, on which seeds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lrsearch.seeds import derived_seed


@dataclass(frozen=True)
class Found:
    """A complete trial of the search."""

    trial: int
    value: float
    recipe: Mapping[str, Any]


def candidates(found: Sequence[Found], top: int, mode: Literal["min", "max"]) -> list[Found]:
    """The best trials of different recipes, the best first; `top` of them where there are."""
    sign = 1.0 if mode == "min" else -1.0
    chosen: dict[str, Found] = {}
    for trial in sorted(found, key=lambda trial: (sign * trial.value, trial.trial)):
        chosen.setdefault(json.dumps(trial.recipe, sort_keys=True), trial)
    return [*chosen.values()][:top]


def fresh_seeds(study_seed: int, count: int) -> list[int]:
    """The same for every candidate; more seeds only add to the end."""
    return [derived_seed(study_seed, "confirm", k) for k in range(count)]
