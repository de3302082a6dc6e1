"""The noise between trainings of one recipe with different seeds."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lrsearch.analysis.study_data import TrialData
from lrsearch.confirm.result import Confirmation


@dataclass(frozen=True)
class Noise:
    """How values differ between trainings of one recipe with different seeds."""

    deviation: float
    """Standard deviation, pooled over the recipes."""
    recipes: int
    trials: int


def seed_noise(trials: Iterable[TrialData]) -> Noise | None:
    """The noise of equal recipes that were tried with different seeds; None if there are none."""
    groups: dict[str, dict[int, float]] = defaultdict(dict)
    for trial in trials:
        if trial.recipe is not None and trial.value is not None:
            key = json.dumps(trial.recipe.to_dict(), sort_keys=True)
            groups[key][trial.seed] = trial.value
    return _pooled([[*values.values()] for values in groups.values()])


def confirmed_noise(confirmation: Confirmation | None) -> Noise | None:
    """The noise of a confirmation's runs; None where no candidate has two values."""
    if confirmation is None:
        return None
    return _pooled([[*candidate.values.values()] for candidate in confirmation.candidates])


def _pooled(groups: Iterable[Sequence[float]]) -> Noise | None:
    """The pooled noise of groups of values. Each group of n adds n - 1 degrees of freedom."""
    repeated = [values for values in groups if len(values) > 1]
    if not repeated:
        return None
    squares = 0.0
    for values in repeated:
        mean = math.fsum(values) / len(values)
        squares += math.fsum((value - mean) ** 2 for value in values)
    count = sum(map(len, repeated))
    return Noise(math.sqrt(squares / (count - len(repeated))), len(repeated), count)
