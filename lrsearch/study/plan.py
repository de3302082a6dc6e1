"""Plan of a study: the parameters and the seed that each trial slot starts with."""

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
"""Largest number of settings of a grid."""

PlannedSlot = tuple[dict[str, Any], int]
"""Fixed parameters of a trial, and its seed."""


def plan_slots(settings: Settings, earlier: Sequence[Mapping[str, Any]] = ()) -> list[PlannedSlot]:
    """Return the trial slots of the whole budget. A larger budget only adds to the end.

    First the settings of `study.try_first`, then the parameters `earlier` of another study, then
    the grid in a random order fixed by the seed or, for other samplers, trials that go through the
    branches of `study.balance` in turn. Raises UserError for a grid that is too large.
    """
    study = settings.study
    slots = [settings.space.parameters_for(wanted)[0] for wanted in study.try_first]
    slots += [dict(parameters) for parameters in earlier]
    if enumerates(settings.sampler):
        slots += _grid(settings)
        total = len(slots) if study.n_trials is None else min(study.n_trials, len(slots))
    else:
        assert study.n_trials is not None, "only a grid may leave study.n_trials out"
        total = study.n_trials
        # With `families`, the branch is chosen when a trial is claimed (queue/balance.py).
        branches = () if study.balance == "families" else study.balance
        turns = itertools.cycle(settings.space.grid(branches) if branches else [{}])
        slots += itertools.islice(turns, max(0, total - len(slots)))
    return [
        (params, derived_seed(study.seed, "trial", k)) for k, params in enumerate(slots[:total])
    ]


def _grid(settings: Settings) -> list[dict[str, Any]]:
    grid = list(itertools.islice(settings.space.grid(), LARGEST_GRID + 1))
    if len(grid) > LARGEST_GRID:
        raise UserError(
            f"the grid has more than {LARGEST_GRID} settings: fix some parameters, "
            f"or give fewer `points` and `choices`"
        )
    # Shuffled, so that a budget smaller than the grid samples all of it.
    random.Random(derived_seed(settings.study.seed, "grid")).shuffle(grid)
    return grid
