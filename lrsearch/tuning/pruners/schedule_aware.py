"""Pruning by the loss so far and a forecast of the final loss along the trial's own schedule."""

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
"""Trials are pruned between these shares of their training, and not in their warm-up.

Later, little time is left to save, and a complete trial is worth more to the forecast.
"""
_STRATUM = 0.1
"""Largest difference, within a stratum, of the share of the schedule still to come."""
_FEW = 5
"""With a smaller stratum, this many nearest trials are compared, and the forecast must be surer."""
_TOO_FEW = 3
"""With fewer trials to compare, the forecast decides alone."""
_FEW_FACTOR = 0.25
"""Factor of the probability limit `chance` for a stratum smaller than _FEW."""
_UNSTEADY = 3.0
"""Times the unsteadiness of a loss, this is added to the error of its forecast.

A loss that jumps says little about where it will settle once the rate has decayed.
"""
_SIMILAR_VALUE, _SIMILAR_RATE = 0.4, 0.6
"""Widths of the Gaussian kernels by which trials of a stratum count as similar.

Of the value, in interquartile ranges of the stratum; of the peak rate per sample, in decades.
"""
_SMALLEST = 1e-12
"""Least interquartile range."""
_KNOWN_AT, _KEPT_THEN = 0.4, 0.4
"""Share of a training from which on ranks change little, and the part of `keep` that remains there.

From _FIRST_SHARE to there, `keep` shrinks linearly.
"""


@dataclass(frozen=True)
class ScheduleAware(Pruner):
    """Ends a trial that is behind its stratum and, by the forecast, will not be among the best.

    A stratum consists of the trials, of all schedulers, with a similar share of their schedule
    still to come. Both conditions must hold: ranks alone are unfair to schedules whose loss falls
    late, and forecasts alone add errors where ranks are right already. Trials that ended earlier
    count as behind: the best share is one of all trials, not of those that are left.
    """

    mode: Mode
    keep: float
    """Share of all trials, the best of a stratum, that is not pruned whatever the forecast.

    This is the share at the first moment of pruning; it is smaller later.
    """
    good: float
    """Share of all trials so far, the best, that a trial must have a chance to belong to."""
    chance: float
    """Probability of that from which on a trial goes on."""
    spare: float
    """Share of trials that are never pruned, to see whether pruning them would have been right."""

    def spares(self, slot: int) -> bool:
        return derived_seed("spare", slot) % 10_000 < self.spare * 10_000

    def should_prune(self, trial: Running, peers: Peers) -> bool:
        progress = trial.progress
        if not max(_FIRST_SHARE, trial.trajectory.warmup) - 1e-9 <= progress < _LAST_SHARE:
            return False
        known = peers.at(progress, trial.spacing)
        sign = 1.0 if self.mode == "min" else -1.0
        own = standing(trial.values, trial.rates, sign)
        stratum = [peer for peer in known if _distance(own, peer.standing) <= _STRATUM]
        begun = peers.begun()
        keep = self._kept(progress) * max(begun / max(len(known), 1), 1.0)
        if not _is_behind(own, stratum, known, keep):
            return False
        finals = sorted(peer.final for peer in known if peer.final is not None)
        if not finals:
            return False
        rank = min(max(1, round(self.good * begun)), len(finals))
        values = [sign * value for value in trial.values]
        chance = self.chance * (_FEW_FACTOR if len(stratum) < _FEW else 1.0)
        return _chance_below(finals[rank - 1], own, values, known, progress) < chance

    def _kept(self, progress: float) -> float:
        """Return the share of all trials that is kept at a share of the training."""
        passed = min((progress - _FIRST_SHARE) / (_KNOWN_AT - _FIRST_SHARE), 1.0)
        return self.keep * (1 - (1 - _KEPT_THEN) * passed)


def _chance_below(
    goal: float, own: Standing, values: Sequence[float], known: Sequence[Peer], progress: float
) -> float:
    """Return the probability that a trial's final value is below the goal.

    By the forecast from complete trials, its error widened by the unsteadiness of `values`.
    """
    complete = [(p.standing, p.final) for p in known if p.final is not None]
    peers, finals = zip(*complete, strict=True)
    running = [p.standing.value for p in known if p.final is None]
    scale = Scale([*finals, *running, own.value])
    forecast = Forecaster(scale, progress, peers, finals)(own)
    band = forecast.wider(_UNSTEADY * unsteadiness(scale(values)))
    return band.probability_below(float(scale([goal])[0]))


def _is_behind(own: Standing, stratum: Sequence[Peer], known: Sequence[Peer], keep: float) -> bool:
    """Return whether a trial is not among the best share `keep` of similar trials.

    True where there are too few similar ones.
    """
    similar = stratum
    if len(similar) < _FEW:
        nearest = sorted(known, key=lambda peer: _distance(own, peer.standing))[:_FEW]
        similar = [peer for peer in nearest if _distance(own, peer.standing) < math.inf]
    if len(similar) < _TOO_FEW:
        return True
    better = np.array([peer.standing.value < own.value for peer in similar])
    weights = _weights([peer.standing for peer in similar])
    return float(weights @ better) > keep * float(weights.sum())


def _weights(standings: Sequence[Standing]) -> Array:
    """Return the weight of each trial: similar trials together have the weight of one.

    A search tries many settings near its best one. With equal weights, a trial anywhere else would
    be behind by their number alone.
    """
    values = np.array([standing.value for standing in standings])
    quarter, three_quarters = np.quantile(values, [0.25, 0.75])
    similar = _similarity(values, _SIMILAR_VALUE * max(three_quarters - quarter, _SMALLEST))
    rates = [standing.rates for standing in standings if standing.rates is not None]
    if rates:  # in a stratum all trials have known rates, or none has
        similar *= _similarity(np.log10([rate.peak_per_sample for rate in rates]), _SIMILAR_RATE)
        _, optimizers = np.unique([rate.optimizer for rate in rates], return_inverse=True)
        similar *= np.equal.outer(optimizers, optimizers)
    return np.asarray(1 / similar.sum(axis=1))


def _similarity(values: Array, width: float) -> Array:
    """Return the Gaussian similarity, 0 to 1, of each value to each; shape: values × values."""
    return np.asarray(np.exp(-0.5 * (np.subtract.outer(values, values) / width) ** 2))


def _distance(first: Standing, second: Standing) -> float:
    """Return the difference of the shares of the schedule still to come.

    Infinite if the schedule is known of one only; 0 if of neither.
    """
    if first.rates is None or second.rates is None:
        return 0.0 if first.rates is second.rates else math.inf
    return abs(first.rates.share_left - second.rates.share_left)
