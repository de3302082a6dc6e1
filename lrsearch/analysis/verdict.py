"""The verdict: which trial to use, and whether it is better than the default and than the next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lrsearch.analysis.noise import Noise, confirmed_noise, seed_noise
from lrsearch.analysis.study_data import StudyData, TrialData
from lrsearch.confirm.result import Candidate, Confirmation
from lrsearch.optimizers import OPTIMIZERS
from lrsearch.recipe import Recipe
from lrsearch.registry import listed

MAY_BE_LUCK = 0.05
"""Probability from which on a lead may be luck."""
FAR = 10.0
"""A difference of so many standard deviations of a difference is a far one."""
SURE = 2.0
"""A difference of so many standard deviations of a difference is hardly noise."""
_TORCH_RATE = 1e-3
"""torch's default learning rate of the optimizers in `_COMMON_OPTIMIZERS`."""
_COMMON_OPTIMIZERS = ("sgd", "adam", "adamw", "radam")


@dataclass(frozen=True)
class Reference:
    """A trial that a user would have without a search, which the best is compared with."""

    trial: int
    is_default: bool
    """Whether it is torch's default recipe; otherwise the first setting of `study.try_first`."""
    value: float
    lead: float
    """How much better the best is; below 0 where it is worse."""
    noise: float | None
    """Standard deviation of such a lead where the recipes are equally good; None if unknown."""
    place: int
    """Its place among the complete trials, from 1."""


@dataclass(frozen=True)
class Rival:
    """The trial that is the next best."""

    trial: int
    lead: float
    """How much better the best is, at least 0."""
    error: float | None
    """How far the lead may be off; None if unknown."""
    luck: float | None
    """Probability that the rival, or any other candidate, is better; None if unknown."""
    confirmed: bool
    """Whether that is known from fresh seeds. Otherwise luck is at least so probable, since the
    best was picked from many."""
    candidates: int = 2
    """Number of candidates that could be confirmed, the best among them."""
    ties: tuple[int, ...] = ()
    """Trials with the same value as the best, the rival among them."""


@dataclass(frozen=True)
class Verdict:
    """Which trial to use, and how far it leads."""

    metric: str
    best: int | None
    """Number of the trial to use; None where none has completed."""
    value: float | None
    complete: int
    ended: bool
    """Whether the search and its confirmation have ended."""
    noise: float | None
    """Standard deviation of a value between trainings of one recipe; None if unknown."""
    reference: Reference | None
    """None where neither the default recipe nor a setting of the user's completed."""
    rival: Rival | None
    """None where no other trial completed, or where the confirmation left no other."""


def find_verdict(study: StudyData) -> Verdict:
    """Compare the best trial with the default recipe and with the next best trial."""
    ranked = study.ranked
    best = ranked[0] if ranked else None
    ended = study.done == study.total and not (
        study.confirmation is not None and study.confirmation.work_left
    )
    if best is None or best.value is None:
        return Verdict(study.metric.name, None, None, len(ranked), ended, None, None, None)
    confirmation = study.confirmation
    confirmed = None if confirmation is None else confirmation.winner
    value = best.value
    if confirmed is not None and confirmed.estimate is not None:
        value = confirmed.estimate.mean
    noise = confirmed_noise(confirmation) or seed_noise(ranked)
    rival = (
        _of_confirmation(confirmation, confirmed)
        if confirmation is not None and confirmed is not None
        else _of_search(ranked, noise)
    )
    return Verdict(
        metric=study.metric.name,
        best=best.number,
        value=value,
        complete=len(ranked),
        ended=ended,
        noise=None if noise is None else noise.deviation,
        reference=_reference(study, value, noise),
        rival=rival,
    )


def _of_confirmation(confirmation: Confirmation, winner: Candidate) -> Rival | None:
    others = [other for other in confirmation.candidates[1:] if other.estimate is not None]
    if not others or winner.estimate is None or others[0].estimate is None:
        return None
    known = others[0].estimate
    return Rival(
        trial=others[0].trial,
        lead=known.behind,
        error=(known.behind_high - known.behind_low) / 2,
        luck=1.0 - winner.estimate.probability,
        candidates=len(others) + 1,
        confirmed=True,
        ties=tuple(
            other.trial
            for other in others
            if other.estimate is not None
            and other.estimate.behind == 0
            and other.values == winner.values
        ),
    )


def _of_search(ranked: Sequence[TrialData], noise: Noise | None) -> Rival | None:
    if len(ranked) < 2:
        return None
    best, second = ranked[0], ranked[1]
    assert best.value is not None
    assert second.value is not None
    lead = abs(best.value - second.value)
    ties = tuple(other.number for other in ranked[1:] if other.value == best.value)
    if noise is None or not noise.deviation > 0:
        return Rival(second.number, lead, None, None, False, ties=ties)
    from scipy.special import stdtr

    deviation = math.sqrt(2.0) * noise.deviation
    luck = float(stdtr(noise.trials - noise.recipes, -lead / deviation))
    return Rival(second.number, lead, deviation, luck, False, ties=ties)


def _reference(study: StudyData, value: float, noise: Noise | None) -> Reference | None:
    place, trial, is_default = _reference_trial(study)
    if trial is None or trial.value is None:
        return None
    sign = 1.0 if study.metric.mode == "min" else -1.0
    deviation = None if noise is None or not noise.deviation > 0 else noise.deviation
    return Reference(
        trial=trial.number,
        is_default=is_default,
        value=trial.value,
        lead=0.0 if place == 1 else sign * (trial.value - value),
        noise=None if deviation is None else math.sqrt(2.0) * deviation,
        place=place,
    )


def _reference_trial(study: StudyData) -> tuple[int, TrialData | None, bool]:
    """Return the place, the trial, and whether it has torch's default recipe."""
    places = list(enumerate(study.ranked, 1))
    for place, trial in places:
        if trial.recipe is not None and is_default(trial.recipe):
            return place, trial, True
    if study.config["study"].get("try_first"):
        for place, trial in places:
            if trial.unit == 0:  # the plan begins with these settings
                return place, trial, False
    return 0, None, False


def is_default(recipe: Recipe) -> bool:
    """Return whether a recipe is what torch does by itself: a constant rate of 0.001.

    It has neither warm-up nor clipping, and the optimizer's own default arguments. The batch size,
    for which there is no default, may be any.
    """
    config = recipe.optimizer
    if config.own or recipe.scheduler.own or config.name not in _COMMON_OPTIMIZERS:
        return False
    defaults: dict[str, Any] = listed(OPTIMIZERS[config.name].complete({}))
    return (
        recipe.scheduler.name == "constant"
        and math.isclose(recipe.lr, _TORCH_RATE, rel_tol=1e-9)
        and not recipe.warmup
        and recipe.grad_clip is None
        and not (recipe.groups or recipe.freeze or recipe.model or recipe.data)
        and all(value == defaults.get(name) for name, value in config.arguments.items())
    )
