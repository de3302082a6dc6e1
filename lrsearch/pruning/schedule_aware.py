"""Pruning that knows the schedules: loss now, and what the rates to come will make of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lrsearch.forecast import Forecaster, Peer, Scale, Standing, standing
from lrsearch.pruning.rules import Mode, Peers, Pruner, Running
from lrsearch.seeds import derived_seed

_FIRST_SHARE, _LAST_SHARE = 0.2, 0.9
"""Nothing is pruned earlier, or in the warm-up; nor later, where little is left to save and a
complete trial teaches more."""
_STRATUM = 0.1
"""Trials of one stratum differ by no more in the share of the rate that is still to come."""
_FEW = 5
"""With fewer of a stratum the forecast decides alone, with a wider band."""
_ALONE = 0.25
"""By how much smaller the probability must then be."""


@dataclass(frozen=True)
class ScheduleAware(Pruner):
    """Ends a trial that is behind its stratum and, by the forecast, will not be among
    the best.

    A stratum are the trials, of all families, that have as much of their rate still to come. Both
    must agree: ranks alone are unfair to schedules whose loss falls late, and forecasts alone are
    wrong where ranks are right already.
    """

    mode: Mode
    keep: float
    """The best share of a stratum, which is not pruned whatever the forecast."""
    good: float
    """What a trial may still become: one of the best of this share of all trials so far."""
    chance: float
    """It goes on while the probability of that is above this."""
    spare: float
    """So many of those that would be pruned run to their end, to see whether that was right."""

    def spares(self, unit: int) -> bool:
        return derived_seed("spare", unit) % 10_000 < self.spare * 10_000

    def should_prune(self, trial: Running, peers: Peers) -> bool:
        now, course = len(trial.values), trial.course
        progress = course.progress(now)
        if not max(_FIRST_SHARE, course.warmup) - 1e-9 <= progress < _LAST_SHARE:
            return False
        known = peers.at(progress, 1 / course.evaluations)
        mine = standing(trial.values, course.rates(now), 1.0 if self.mode == "min" else -1.0)
        if not self._is_behind(mine, known):
            return False
        finals = sorted(peer.final for peer in known if peer.final is not None)
        if not finals:
            return False
        rank = min(max(1, round(self.good * (trial.unit + 1))), len(finals))
        return self._is_hopeless(mine, known, progress, finals[rank - 1])

    def _is_behind(self, mine: Standing, known: Sequence[Peer]) -> bool:
        stratum = [p.standing.value for p in known if _same_stratum(mine, p.standing)]
        if len(stratum) < _FEW:
            return True
        return mine.value > float(np.quantile(stratum, self.keep))

    def _is_hopeless(
        self, mine: Standing, known: Sequence[Peer], progress: float, goal: float
    ) -> bool:
        complete = [(p.standing, p.final) for p in known if p.final is not None]
        peers, finals = zip(*complete, strict=True)
        running = [p.standing.value for p in known if p.final is None]
        scale = Scale([*finals, *running, mine.value])
        forecast = Forecaster(scale, progress, peers, finals)(mine)
        stratum = sum(_same_stratum(mine, p.standing) for p in known)
        chance = self.chance * (_ALONE if stratum < _FEW else 1.0)
        return forecast.probability_below(float(scale([goal])[0])) < chance


def _same_stratum(one: Standing, other: Standing) -> bool:
    if one.rates is None or other.rates is None:
        return one.rates is other.rates
    return abs(one.rates.share_left - other.rates.share_left) <= _STRATUM
