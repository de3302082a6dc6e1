"""How much a setting promises: the expected improvement, where it is likely to work."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtr

from lrsearch.tuning.samplers.joint import JointSpace, Points
from lrsearch.tuning.samplers.observations import Observations
from lrsearch.tuning.samplers.surrogate import Surrogate

Array = NDArray[np.float64]

_GOOD = 8
_SURE = 0.1
"""The model of what breaks is never surer than this of a label, 0 or 1."""
_LIKELY, _LAST_RESORT = 0.75, 20.0


class Score:
    """Of points of the joint space; the larger the better."""

    def __init__(self, joint: JointSpace, seen: Observations, gain: float) -> None:
        """What is better than the best by less than `gain` counts for nothing."""
        self._joint, self._goal = joint, seen.best - gain
        points, rows = joint.points([one.parameters for one in seen.known])
        values = np.array([seen.known[row].value for row in rows])
        variances = np.array([seen.known[row].variance for row in rows])
        self.good = points[np.argsort(values, kind="stable")[:_GOOD]]
        """The best settings that are known."""
        known = joint.encode(points)
        self._values = _with_running(
            Surrogate(known, values, variances),
            joint.encode(joint.points(seen.unknown)[0]),
            known,
            values,
            variances,
        )
        self._works = _works(known, joint.encode(joint.points(seen.broken)[0]))

    def __call__(self, points: Points) -> Array:
        columns = self._joint.encode(points)
        mean, deviation = self._values.predict(columns)
        found = log_expected_improvement(mean, deviation, self._goal)
        if self._works is not None:
            label, unsure = self._works.predict(columns)
            found += log_ndtr((label - 0.5) / np.maximum(unsure, _SURE))
            # However much it promises: what may well break is the last resort.
            found -= _LAST_RESORT * (label < _LIKELY)
        return found


def _with_running(
    model: Surrogate, running: Array, known: Array, values: Array, variances: Array
) -> Surrogate:
    """As if what runs had come out as expected: the next one goes elsewhere."""
    if not len(running):
        return model
    return model.with_data(
        np.vstack([known, running]),
        np.r_[values, model.predict(running)[0]],
        np.r_[variances, np.zeros(len(running))],
    )


def _works(known: Array, broken: Array) -> Surrogate | None:
    """1 where settings work, 0 where they break; None if none has broken.

    What breaks has an edge: how smooth that is has nothing to do with the values.
    """
    if not len(broken):
        return None
    labels = np.r_[np.ones(len(known)), np.zeros(len(broken))]
    return Surrogate(np.vstack([known, broken]), labels, np.full(len(labels), _SURE**2))


def log_expected_improvement(mean: Array, deviation: Array, best: float) -> Array:
    """Log of the expected improvement on `best`, for values that are to be small.

    Far below, by the asymptotic form, which does not underflow (Ament et al. 2023,
    arXiv 2310.20708).
    """
    z = (best - mean) / deviation
    density = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    near = np.log(np.maximum(density + z * ndtr(z), 1e-300))
    # phi(z) + z Phi(z) for z -> -inf is phi(z) / z^2.
    far = -0.5 * z * z - 0.5 * math.log(2 * math.pi) - 2 * np.log(np.maximum(np.abs(z), 1e-12))
    return np.asarray(np.where(z < -15, far, near) + np.log(deviation))
