"""How good each candidate is, and which is best: a hierarchical model of its values on some seeds.

The value of candidate c on seed s is taken to be

    y[c, s] = mu + u[c] + b[s] + e[c, s],    u ~ N(0, tau²), b ~ N(0, omega²), e ~ N(0, sigma²)

What the candidates share (mu) and what a seed does to all of them (b) cancel in comparisons: those
are paired. A candidate need not have a value on every seed.

Which candidate is the best is answered with the u shrunk to each other as far as the data say that
they are alike. The numbers are what anybody gets by hand: a candidate's mean is that of its own
values, a difference that of values on the same seeds. Only how far they may be off is the model's:
all candidates together say how much runs differ.

Priors: flat for mu, 1 / sigma for sigma (Jeffreys), half-Cauchy with scale 1 for tau / sigma and
omega / sigma, weak ones for the spread of a few groups (Gelman 2006, "Prior distributions for
variance parameters in hierarchical models", Bayesian Analysis 1(3)). None has a unit, so that the
answer does not depend on the values' unit or zero.

Given the two ratios all is in closed form: the mixed model equations (Henderson 1975, "Best linear
unbiased estimation and prediction under a selection model", Biometrics 31) give the means and their
covariance over sigma², sigma² is scaled inverse chi² with n - 1 degrees of freedom (Box and Tiao
1973, "Bayesian Inference in Statistical Analysis", chapter 2). The ratios are integrated over a
grid, probabilities and intervals are read from draws with a fixed seed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_DRAWS = 20_000
_LOG_RATIOS = np.arange(-4.0, 9.1, 0.75)
"""From ratios that are as good as 0 to those where noise is as good as absent."""
_EQUAL = 1e-12
"""A spread of values, relative to their size, that is none."""
_NO_NOISE = 1e-9
"""Of a sum of squares of standardised values: below this is what rounding leaves."""
_DIGITS = 9
_INTERVAL = 95


@dataclass(frozen=True)
class Estimate:
    """What is known of a candidate. Intervals hold the truth with probability 95 %."""

    mean: float
    """Of its own values."""
    low: float
    """Where the mean over all seeds there could be lies, with `high`."""
    high: float
    behind: float
    """How much worse than the likeliest best it is, by mean, on the seeds that both have; 0 for
    that one itself. Where they share none, the difference of their means."""
    behind_low: float
    behind_high: float
    probability: float
    """Of being the best of the candidates."""


@dataclass(frozen=True)
class _Posterior:
    """Of the means, on a grid of ratios; values are standardised, lower is better."""

    weights: Array
    """Of the points of the grid."""
    centres: Array
    """Point × candidate."""
    covariances: Array
    """Point × candidate × candidate, over sigma²."""
    squares: Array
    """What is left of the sum of squares at each point."""
    freedom: int
    seed_ratios: Array
    """omega / sigma at each point."""


@dataclass(frozen=True)
class _Draws:
    """From the posterior."""

    means: Array
    """Draw × candidate."""
    sigma: Array
    omega: Array
    errors: Array
    """Standard normal, for the errors of means."""

    def scaled(self, scale: float) -> _Draws:
        """In the values' unit."""
        return replace(self, sigma=scale * self.sigma, omega=scale * self.omega)

    def reach(self, own: float, shared: float) -> float:
        """So far off may a mean be whose variance is `own` sigma² + `shared` omega²."""
        deviation = np.sqrt(own * self.sigma**2 + shared * self.omega**2)
        return float(np.percentile(np.abs(deviation * self.errors), _INTERVAL))


def estimate(
    values: Mapping[int, Mapping[int, float]], mode: Literal["min", "max"]
) -> dict[int, Estimate]:
    """Of each candidate, by its values on seeds: `values[candidate][seed]`.

    Raises ValueError where a candidate has no value, or one that is not finite.
    """
    if not all(values.values()):
        raise ValueError("a candidate has no value")
    sign = 1.0 if mode == "min" else -1.0
    # The order in which they are given must not matter, not even to the last digit of a sum: it
    # may move a draw to another point.
    values = {name: dict(sorted(by_seed.items())) for name, by_seed in values.items()}
    names = sorted(values, key=lambda name: sorted(sign * v for v in values[name].values()))
    seeds = sorted({seed for by_seed in values.values() for seed in by_seed})
    rows = [(c, seeds.index(s), v) for c, name in enumerate(names) for s, v in values[name].items()]
    y = sign * np.array([value for _, _, value in rows])
    if not np.isfinite(y).all():
        raise ValueError("a value is not finite")
    centre, scale = float(y.mean()), float(y.std())
    if scale <= _EQUAL * max(1.0, abs(centre)):
        return {name: _certain(sign * centre, len(names)) for name in names}
    design = np.zeros((len(rows), 1 + len(names) + len(seeds)))
    design[:, 0] = 1.0
    for k, (candidate, seed, _) in enumerate(rows):
        design[k, 1 + candidate] = design[k, 1 + len(names) + seed] = 1.0
    # In another unit the last digits differ, which must not move a draw to another point.
    standardised = np.round((y - centre) / scale, _DIGITS)
    posterior = _posterior(design, standardised, len(names))
    draws = _draw(posterior)
    winners = np.bincount(draws.means.argmin(axis=1), minlength=len(names)) / _DRAWS
    own = [sign * _mean([*values[name].values()]) for name in names]
    best = values[names[int(np.lexsort((np.array(own), -winners))[0])]]
    return {
        name: _estimate(values[name], best, float(winners[c]), draws.scaled(scale), sign)
        for c, name in enumerate(names)
    }


def _certain(mean: float, count: int) -> Estimate:
    """All values are equal: no noise, and no difference."""
    return Estimate(mean, mean, mean, 0.0, 0.0, 0.0, 1.0 / count)


def _posterior(design: Array, y: Array, candidates: int) -> _Posterior:
    """`design` has a column of ones, then one for each candidate, then one for each seed."""
    seeds = design.shape[1] - 1 - candidates
    log_u, log_b = (grid.ravel() for grid in np.meshgrid(_LOG_RATIOS, _LOG_RATIOS))
    shrinkage = np.zeros((len(log_u), design.shape[1]))
    shrinkage[:, 1 : 1 + candidates] = np.exp(-2 * log_u)[:, None]
    shrinkage[:, 1 + candidates :] = np.exp(-2 * log_b)[:, None]
    equations = design.T @ design + np.eye(design.shape[1]) * shrinkage[:, None, :]
    inverse = np.linalg.inv(equations)
    right = design.T @ y
    solution = inverse @ right
    squares = np.maximum(y @ y - solution @ right, _NO_NOISE)
    freedom = len(y) - 1
    log_weights = (
        -0.5 * np.linalg.slogdet(equations)[1]
        - candidates * log_u
        - seeds * log_b
        - 0.5 * freedom * np.log(squares)
        # The half-Cauchy priors of the ratios, as densities of their logarithms.
        - np.log(np.cosh(log_u))
        - np.log(np.cosh(log_b))
    )
    weights = np.exp(log_weights - log_weights.max())
    picked = np.zeros((candidates, design.shape[1]))
    picked[:, 0] = 1.0
    picked[:, 1 : 1 + candidates] = np.eye(candidates)
    return _Posterior(
        weights / weights.sum(),
        solution @ picked.T,
        picked @ inverse @ picked.T,
        squares,
        freedom,
        np.exp(log_b),
    )


def _draw(posterior: _Posterior) -> _Draws:
    """Of the candidates' means, and of the noise."""
    random = np.random.default_rng(0)
    at = (np.arange(_DRAWS) + 0.5) / _DRAWS
    points = np.searchsorted(np.cumsum(posterior.weights), at).clip(max=len(posterior.weights) - 1)
    normal = random.standard_normal((_DRAWS, posterior.centres.shape[1]))
    sigma = np.sqrt(posterior.squares[points] / random.chisquare(posterior.freedom, _DRAWS))
    draws: Array = posterior.centres[points]
    for point in np.unique(points):
        mine = points == point
        values, vectors = np.linalg.eigh(posterior.covariances[point])
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        draws[mine] += sigma[mine, None] * (normal[mine] @ root.T)
    omega = posterior.seed_ratios[points] * sigma
    return _Draws(draws, sigma, omega, random.standard_normal(_DRAWS))


def _estimate(
    own: Mapping[int, float], best: Mapping[int, float], probability: float, draws: _Draws,
    sign: float,
) -> Estimate:  # fmt: skip
    """Estimate a candidate with the values `own`, compared with `best`, the likeliest best's."""
    mean = _mean([*own.values()])
    reach = draws.reach(1 / len(own), 1 / len(own))
    both = [seed for seed in own if seed in best]
    if own is best:
        behind, gap = 0.0, 0.0
    elif both:
        behind = sign * _mean([own[seed] - best[seed] for seed in both])
        gap = draws.reach(2 / len(both), 0.0)  # what the seeds do to both is gone
    else:
        behind = sign * (mean - _mean([*best.values()]))
        variance = 1 / len(own) + 1 / len(best)
        gap = draws.reach(variance, variance)
    return Estimate(
        mean=mean,
        low=mean - reach,
        high=mean + reach,
        behind=behind,
        behind_low=behind - gap,
        behind_high=behind + gap,
        probability=probability,
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
