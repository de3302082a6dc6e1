"""How good each candidate is, and which is best: a hierarchical model of its values on some seeds.

The value of candidate c on seed s is taken to be

    y[c, s] = mu + u[c] + b[s] + e[c, s],    u ~ N(0, tau²), b ~ N(0, omega²), e ~ N(0, sigma²)

What the candidates share (mu) and what a seed does to all of them (b) cancel in comparisons: those
are paired. The u are shrunk to each other as far as the data say that they are alike. A candidate
need not have a value on every seed.

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

from collections.abc import Mapping
from dataclasses import dataclass
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
_INTERVAL = (2.5, 97.5)


@dataclass(frozen=True)
class Estimate:
    """What is known of a candidate. Intervals hold the truth with probability 95 %."""

    mean: float
    """Of its values over all seeds there could be."""
    low: float
    high: float
    behind: float
    """How much worse than the likeliest best it is on the same seeds; 0 for that one itself."""
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


def estimate(
    values: Mapping[int, Mapping[int, float]], mode: Literal["min", "max"]
) -> dict[int, Estimate]:
    """Of each candidate, by its values on seeds: `values[candidate][seed]`.

    Raises ValueError where a candidate has no value, or one that is not finite.
    """
    if not all(values.values()):
        raise ValueError("a candidate has no value")
    sign = 1.0 if mode == "min" else -1.0
    # The order in which they are given must not matter to the draws.
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
    posterior = _posterior(design, (y - centre) / scale, len(names))
    means = posterior.weights @ posterior.centres
    return _summaries(names, centre + scale * means, centre + scale * _draw(posterior), sign)


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
    )


def _draw(posterior: _Posterior) -> Array:
    """Draws of the candidates' means, a row each."""
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
    return draws


def _summaries(names: list[int], means: Array, draws: Array, sign: float) -> dict[int, Estimate]:
    winners = np.bincount(draws.argmin(axis=1), minlength=len(names)) / len(draws)
    best = int(np.lexsort((means, -winners))[0])
    low, high = np.percentile(draws, _INTERVAL, axis=0)
    behind_low, behind_high = np.percentile(draws - draws[:, [best]], _INTERVAL, axis=0)
    found = {}
    for k, name in enumerate(names):
        ends = sorted((sign * float(low[k]), sign * float(high[k])))
        found[name] = Estimate(
            mean=sign * float(means[k]),
            low=ends[0],
            high=ends[1],
            behind=float(means[k] - means[best]),
            behind_low=float(behind_low[k]),
            behind_high=float(behind_high[k]),
            probability=float(winners[k]),
        )
    return found
