"""Score of candidate settings: expected improvement, times the probability that they work."""

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
"""Number of best known settings near which the search looks."""
_SURE = 0.1
"""Smallest standard deviation of a label (0: broken, 1: works) in the model of what breaks."""
_LIKELY, _LAST_RESORT = 0.75, 20.0
"""Label below which a setting may well break, and what that costs of the logarithmic score."""


class Score:
    """Score of points of the joint space; the larger the better."""

    def __init__(self, joint: JointSpace, observations: Observations, gain: float) -> None:
        """Fit the models to the observations.

        Improvements on the best value count from `gain` on, in units of `Scale`.
        """
        self._joint, self._goal = joint, observations.best - gain
        points, rows = joint.points([setting.parameters for setting in observations.known])
        values = np.array([observations.known[row].value for row in rows])
        variances = np.array([observations.known[row].variance for row in rows])
        self.good = points[np.argsort(values, kind="stable")[:_GOOD]]
        """The best known settings."""
        known = joint.encode(points)
        self._values = _with_running(
            Surrogate(known, values, variances),
            joint.encode(joint.points(observations.unknown)[0]),
            known,
            values,
            variances,
        )
        self._works = _works(known, joint.encode(joint.points(observations.broken)[0]))

    def __call__(self, points: Points) -> Array:
        columns = self._joint.encode(points)
        mean, deviation = self._values.predict(columns)
        score = log_expected_improvement(mean, deviation, self._goal)
        if self._works is not None:
            label, unsure = self._works.predict(columns)
            score += log_ndtr((label - 0.5) / np.maximum(unsure, _SURE))
            # A setting that may well break is the last resort, whatever its expected improvement.
            score -= _LAST_RESORT * (label < _LIKELY)
        return score


def _with_running(
    model: Surrogate, running: Array, known: Array, values: Array, variances: Array
) -> Surrogate:
    """Return the model with the running settings added, at their predicted values.

    Their uncertainty shrinks, so that the next suggestion lies elsewhere.
    """
    if not len(running):
        return model
    return model.with_data(
        np.vstack([known, running]),
        np.r_[values, model.predict(running)[0]],
        np.r_[variances, np.zeros(len(running))],
    )


def _works(known: Array, broken: Array) -> Surrogate | None:
    """Fit a model of whether settings work (1) or break (0); None if none has broken.

    Its kernel is fitted apart from that of the values, whose smoothness says nothing about the
    edge between the two.
    """
    if not len(broken):
        return None
    labels = np.r_[np.ones(len(known)), np.zeros(len(broken))]
    return Surrogate(np.vstack([known, broken]), labels, np.full(len(labels), _SURE**2))


def log_expected_improvement(mean: Array, deviation: Array, best: float) -> Array:
    """Return the log of the expected improvement on `best`, for values to be minimized.

    Where the improvement is tiny, by its asymptotic form, which does not underflow (Ament et al.
    2023, arXiv 2310.20708).
    """
    z = (best - mean) / deviation
    density = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    near = np.log(np.maximum(density + z * ndtr(z), 1e-300))
    # phi(z) + z Phi(z) for z -> -inf is phi(z) / z^2.
    far = -0.5 * z * z - 0.5 * math.log(2 * math.pi) - 2 * np.log(np.maximum(np.abs(z), 1e-12))
    return np.asarray(np.where(z < -15, far, near) + np.log(deviation))
