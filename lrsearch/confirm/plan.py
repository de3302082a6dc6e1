"""Which runs a confirmation needs, and which of them are needed no more."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lrsearch.confirm.model import estimate
from lrsearch.seeds import derived_seed

HOPELESS = 0.02
"""A candidate that is the best with a probability below this is trained no more."""
FEWEST_SEEDS = 2
"""Values of a candidate before it may be given up."""


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
    for one in sorted(found, key=lambda one: (sign * one.value, one.trial)):
        chosen.setdefault(json.dumps(one.recipe, sort_keys=True), one)
    return [*chosen.values()][:top]


def fresh_seeds(study_seed: int, count: int) -> list[int]:
    """The same for every candidate; more seeds only add to the end."""
    return [derived_seed(study_seed, "confirm", k) for k in range(count)]


def hopeless(
    values: Mapping[int, Mapping[int, float]], broken: Collection[int], mode: Literal["min", "max"]
) -> set[int]:
    """The candidates that need no further runs.

    Those that are `broken` (a run of theirs did not come to its end), and those that have values
    on enough seeds and are hardly the best of the others.
    """
    alive = {trial: by_seed for trial, by_seed in values.items() if by_seed and trial not in broken}
    if len(alive) < 2:
        return set(broken)
    estimates = estimate(alive, mode)
    given_up = {
        trial
        for trial, one in estimates.items()
        if one.probability < HOPELESS and len(alive[trial]) >= FEWEST_SEEDS
    }
    return given_up | set(broken)
