"""The plan of a study: what each trial slot is given beforehand."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from typing import Any

from lrsearch.errors import UserError
from lrsearch.seeds import derived_seed
from lrsearch.settings import Settings
from lrsearch.tuning.samplers import enumerates

LARGEST_GRID = 100_000

PlannedSlot = tuple[dict[str, Any], int]
"""Given parameters of the trial, and its seed."""


def plan_slots(settings: Settings, earlier: Sequence[Mapping[str, Any]] = ()) -> list[PlannedSlot]:
    """The trial slots of the whole budget. A larger budget only adds to the end.

    First what `study.try_first` names, then the parameters `earlier` of another study, then the
    grid in a random order that the seed fixes, or else trials whose `study.balance` branches take
    turns. Raises UserError for a grid too large.
    """
    study = settings.study
    given = [settings.space.parameters_for(wanted)[0] for wanted in study.try_first]
    given += [dict(parameters) for parameters in earlier]
    if enumerates(settings.sampler):
        given += _grid(settings)
        total = len(given) if study.n_trials is None else min(study.n_trials, len(given))
    else:
        assert study.n_trials is not None, "a configuration has a number for other samplers"
        total = study.n_trials
        # `families` take their turns when they are claimed.
        branches = () if study.balance == "families" else study.balance
        turns = itertools.cycle(settings.space.grid(branches) if branches else [{}])
        given += itertools.islice(turns, max(0, total - len(given)))
    return [
        (params, derived_seed(study.seed, "trial", k)) for k, params in enumerate(given[:total])
    ]


def _grid(settings: Settings) -> list[dict[str, Any]]:
    grid = list(itertools.islice(settings.space.grid(), LARGEST_GRID + 1))
    if len(grid) > LARGEST_GRID:
        raise UserError(
            f"the grid has more than {LARGEST_GRID} settings: fix some parameters, "
            f"or give fewer `points` and `choices`"
        )
    # So that a budget smaller than the grid covers all of it, thinly.
    random.Random(derived_seed(settings.study.seed, "grid")).shuffle(grid)
    return grid
