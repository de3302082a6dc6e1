"""The trials of a study as points for the response to the learning rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lrsearch.analysis.rate_model import Tries
from lrsearch.analysis.study_data import StudyData
from lrsearch.recipe import Recipe

MOST = 250
_FORECAST_WEIGHT = 0.5
"""Weight of a forecast, whose error comes on top of that of a trial that ran to its end."""


@dataclass(frozen=True)
class Try:
    """A recipe and its loss: the value of a complete trial or the forecast of a pruned one."""

    recipe: Recipe
    loss: float
    """Smaller is better, whatever the mode of the metric."""
    complete: bool


def tries_of(study: StudyData, forecast: Mapping[int, float]) -> list[Try]:
    """Return the complete trials and those with a forecast, by optimizer, in their order."""
    sign = 1.0 if study.metric.mode == "min" else -1.0
    tries = []
    for trial in study.trials:
        value = trial.value if trial.is_complete else forecast.get(trial.number)
        if trial.recipe is not None and value is not None:
            tries.append(Try(trial.recipe, sign * value, trial.is_complete))
    return sorted(tries, key=lambda one: one.recipe.optimizer.name)


def gathered(tries: Sequence[Try]) -> Tries:
    """Gather tries of one optimizer for a fit; schedulers differ in their level.

    Of more than MOST every second one is taken, or third, so that a fit takes no seconds.
    """
    tries = tries[:: -(-len(tries) // MOST)] if tries else tries
    return Tries(
        rates=np.array([one.recipe.lr for one in tries]),
        sizes=np.array([one.recipe.batch_size for one in tries], float),
        losses=np.array([one.loss for one in tries]),
        weights=np.array([1.0 if one.complete else _FORECAST_WEIGHT for one in tries]),
        groups=tuple(one.recipe.scheduler.name for one in tries),
    )
