"""Pruning that knows the schedules: loss now, and what the rates to come will make of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrsearch.seeds import derived_seed
from lrsearch.tuning.forecast import Forecaster, Peer, Scale, Standing, standing, unsteadiness
from lrsearch.tuning.pruners.rules import Mode, Peers, Pruner, Running

Array = NDArray[np.float64]

_FIRST_SHARE, _LAST_SHARE = 0.2, 0.9
"""Nothing is pruned earlier, or in the warm-up; nor later, where little is left to save and a
complete trial teaches more."""
_STRATUM = 0.1
"""Trials of one stratum differ by no more in the share of the rate that is still to come."""
_FEW = 5
"""With fewer of a stratum the nearest so many are compared, and the forecast must be surer."""
_TOO_FEW = 3
"""To be compared with at all: then the forecast decides alone."""
_ALONE = 0.25
"""By how much smaller the probability must be where there are few."""
_UNSTEADY = 3.0
"""So many times how unsteady a loss is widens the band of its forecast: one that jumps about says
little of where it will settle once its rate has decayed."""
_ALIKE_VALUE, _ALIKE_RATE = 0.4, 0.6
"""Trials of a stratum are much alike so near each other: in units of what lies between the quarters
of its losses, and in decades of the peak rate per sample of one optimizer."""
_SMALLEST = 1e-12
"""Between the quarters, where there is nothing."""
_KNOWN_AT, _KEPT_THEN = 0.4, 0.4
"""Ranks hold better from here on: so much is left of the share that is kept."""


@dataclass(frozen=True)
class ScheduleAware(Pruner):
    """Ends a trial that is behind its stratum and, by the forecast, will not be among the best.

    A stratum are the trials, of all families, that have as much of their rate still to come. Both
    must agree: ranks alone are unfair to schedules whose loss falls late, and forecasts alone are
    wrong where ranks are right already. Trials that have ended earlier count as behind: the best
    share is one of all, not of those that are left.
    """

    mode: Mode
    keep: float
    """The best share of all, as far as a stratum tells, is not pruned whatever the forecast: so
    much of them at the first moment of pruning, less at later ones."""
    good: float
    """What a trial may still become: one of the best of this share of all trials so far."""
    chance: float
    """It goes on while the probability of that is above this."""
    spare: float
    """So many of those that would be pruned run to their end, to see whether that was right."""

    def spares(self, unit: int) -> bool:
        return derived_seed("spare", unit) % 10_000 < self.spare * 10_000

    def should_prune(self, trial: Running, peers: Peers) -> bool:
        now, trajectory = len(trial.values), trial.trajectory
        progress = trajectory.progress(now)
        if not max(_FIRST_SHARE, trajectory.warmup) - 1e-9 <= progress < _LAST_SHARE:
            return False
        known = peers.at(progress, 1 / trajectory.evaluations)
        sign = 1.0 if self.mode == "min" else -1.0
        mine = standing(trial.values, trajectory.rates(now), sign)
        stratum = [peer for peer in known if _distance(mine, peer.standing) <= _STRATUM]
        begun = peers.begun()
        keep = self._kept(progress) * max(begun / max(len(known), 1), 1.0)
        if not _is_behind(mine, stratum, known, keep):
            return False
        finals = sorted(peer.final for peer in known if peer.final is not None)
        if not finals:
            return False
        rank = min(max(1, round(self.good * begun)), len(finals))
        values = [sign * value for value in trial.values]
        chance = self.chance * (_ALONE if len(stratum) < _FEW else 1.0)
        return _chance_below(finals[rank - 1], mine, values, known, progress) < chance

    def _kept(self, progress: float) -> float:
        """The share of all trials that is kept at a moment."""
        passed = min((progress - _FIRST_SHARE) / (_KNOWN_AT - _FIRST_SHARE), 1.0)
        return self.keep * (1 - (1 - _KEPT_THEN) * passed)


def _chance_below(
    goal: float, mine: Standing, values: Sequence[float], known: Sequence[Peer], progress: float
) -> float:
    """How likely its final value is below the goal: by the forecast, and by how steady it is."""
    complete = [(p.standing, p.final) for p in known if p.final is not None]
    peers, finals = zip(*complete, strict=True)
    running = [p.standing.value for p in known if p.final is None]
    scale = Scale([*finals, *running, mine.value])
    forecast = Forecaster(scale, progress, peers, finals)(mine)
    band = forecast.wider(_UNSTEADY * unsteadiness(scale(values)))
    return band.probability_below(float(scale([goal])[0]))


def _is_behind(mine: Standing, stratum: Sequence[Peer], known: Sequence[Peer], keep: float) -> bool:
    """Whether it is not among the best share of its like; true where there is nothing like it."""
    alike = stratum
    if len(alike) < _FEW:
        nearest = sorted(known, key=lambda peer: _distance(mine, peer.standing))[:_FEW]
        alike = [peer for peer in nearest if _distance(mine, peer.standing) < math.inf]
    if len(alike) < _TOO_FEW:
        return True
    better = np.array([peer.standing.value < mine.value for peer in alike])
    counts = _counts([peer.standing for peer in alike])
    return float(counts @ better) > keep * float(counts.sum())


def _counts(standings: Sequence[Standing]) -> Array:
    """How much each counts: those that are much like one another count as one together.

    A search tries many settings near its best. Were each to count, whatever is begun elsewhere
    would be behind for their number alone.
    """
    values = np.array([one.value for one in standings])
    quarter, three_quarters = np.quantile(values, [0.25, 0.75])
    alike = _nearness(values, _ALIKE_VALUE * max(three_quarters - quarter, _SMALLEST))
    rates = [one.rates for one in standings if one.rates is not None]
    if rates:  # of a stratum all have them, or none
        alike *= _nearness(np.log10([one.peak_per_sample for one in rates]), _ALIKE_RATE)
        _, optimizers = np.unique([one.optimizer for one in rates], return_inverse=True)
        alike *= np.equal.outer(optimizers, optimizers)
    return np.asarray(1 / alike.sum(axis=1))


def _nearness(values: Array, width: float) -> Array:
    """Of each to each, from 0 to 1."""
    return np.asarray(np.exp(-0.5 * (np.subtract.outer(values, values) / width) ** 2))


def _distance(one: Standing, other: Standing) -> float:
    """In the share of the rate that is still to come; infinite if it is known of one only."""
    if one.rates is None or other.rates is None:
        return 0.0 if one.rates is other.rates else math.inf
    return abs(one.rates.share_left - other.rates.share_left)
