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

All values are means over the same evaluation samples. Where it is known how far other samples would
move them (`confirm.sampling`), each candidate's mean has a further error,

    y[c, s] = mu + u[c] + d[c] + b[s] + e[c, s],    d ~ N(0, the covariance over samples),

and a candidate is as good as mu + u[c]: on other samples than these. Then sigma is no longer a mere
factor of everything, and is integrated over a grid, too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lrsearch.confirm.sampling import SamplingError

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
_SIGMA_RANGE = (0.001, 0.999)
"""Quantiles of sigma, by the values without the error of samples, between which its grid lies."""
_SIGMA_POINTS = 9
_NO_ERROR = 1e-9
"""A variance over samples, of standardised values, that is none."""
_ROUNDING = 1e-12
"""The same, over the largest of the variances: so much of it is what rounding leaves."""


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
    of_samples: float | None = None
    """Share of the mean's variance that is of the evaluation samples; None where not known."""


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
    sigma: Array | None = None
    """Sigma at each point; None where it is integrated in closed form."""


@dataclass(frozen=True)
class _Draws:
    """From the posterior."""

    means: Array
    """Draw × candidate."""
    sigma: Array
    omega: Array
    errors: Array
    """Standard normal, for the errors of means."""
    spread: Array
    """Of the true variance over samples, over the estimated one; 1 where that is exact."""

    def scaled(self, scale: float) -> _Draws:
        """In the values' unit."""
        return replace(self, sigma=scale * self.sigma, omega=scale * self.omega)

    def reach(self, own: float, shared: float, samples: float) -> float:
        """So far off may a mean be: of variance `own` sigma² + `shared` omega² + `samples`."""
        seeds = own * self.sigma**2 + shared * self.omega**2
        deviation = np.sqrt(seeds + samples * self.spread)
        return float(np.percentile(np.abs(deviation * self.errors), _INTERVAL))

    def of_samples(self, own: float, samples: float) -> float:
        """Share of such a mean's variance that is of the samples, `shared` being `own`."""
        seeds = own * float(np.median(self.sigma**2 + self.omega**2))
        return samples / (samples + seeds) if samples + seeds > 0 else 0.0


def estimate(
    values: Mapping[int, Mapping[int, float]],
    mode: Literal["min", "max"],
    samples: SamplingError | None = None,
) -> dict[int, Estimate]:
    """Of each candidate, by its values on seeds: `values[candidate][seed]`.

    With `samples`, the error of the evaluation samples is part of all intervals and probabilities.
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
    covariance = np.zeros((len(names), len(names))) if samples is None else samples.of(names)
    centre, scale = float(y.mean()), float(y.std())
    if scale <= _EQUAL * max(1.0, abs(centre)):
        draws, scale = _no_noise(len(names)), 1.0
    else:
        design = np.zeros((len(rows), 1 + len(names) + len(seeds)))
        design[:, 0] = 1.0
        for k, (candidate, seed, _) in enumerate(rows):
            design[k, 1 + candidate] = design[k, 1 + len(names) + seed] = 1.0
        # In another unit the last digits differ, which must not move a draw to another point.
        standardised = np.round((y - centre) / scale, _DIGITS)
        posterior = _posterior(design, standardised, len(names))
        if samples is not None:
            sigma = np.quantile(_draw(posterior).sigma, _SIGMA_RANGE)
            posterior = _with_samples(
                design, standardised, np.round(covariance / scale**2, _DIGITS), sigma
            )
        draws = _draw(posterior)
    if samples is not None:
        chi2 = np.random.default_rng(1).chisquare(samples.freedom, _DRAWS)
        draws = replace(draws, spread=samples.freedom / chi2)
    winners = _shares_of_wins(draws.means)
    own = [sign * _mean([*values[name].values()]) for name in names]
    best = int(np.lexsort((np.array(own), -winners))[0])
    draws = draws.scaled(scale)
    return {
        name: _estimate(
            values[name],
            values[names[best]],
            float(winners[c]),
            draws,
            sign,
            None if samples is None else float(covariance[c, c]),
            float(covariance[c, c] + covariance[best, best] - 2 * covariance[c, best]),
        )
        for c, name in enumerate(names)
    }


def _no_noise(count: int) -> _Draws:
    """Of values that are all equal: seeds make no difference, and none is better."""
    nothing = np.zeros(_DRAWS)
    errors = np.random.default_rng(0).standard_normal(_DRAWS)
    return _Draws(np.zeros((_DRAWS, count)), nothing, nothing, errors, np.ones(_DRAWS))


def _shares_of_wins(means: Array) -> Array:
    """How often each candidate is the best; equally often where all are equal in all draws."""
    count = means.shape[1]
    if not means.any():
        return np.full(count, 1.0 / count)
    return np.bincount(means.argmin(axis=1), minlength=count) / len(means)


def _posterior(design: Array, y: Array, candidates: int) -> _Posterior:
    """`design` has a column of ones, then one for each candidate, then one for each seed."""
    log_u, log_b, shrinkage = _ratios(design.shape[1], candidates)
    means, covariances, squares, log_determinants = _solve(
        design, y, np.eye(design.shape[1]) * shrinkage[:, None, :], candidates
    )
    freedom = len(y) - 1
    log_weights = (
        -0.5 * log_determinants
        + _log_priors(design, candidates, log_u, log_b)
        - 0.5 * freedom * np.log(squares)
    )
    return _Posterior(_normalised(log_weights), means, covariances, squares, freedom, np.exp(log_b))


def _with_samples(design: Array, y: Array, covariance: Array, sigma: Array) -> _Posterior:
    """The posterior with an error of each candidate over samples, of this `covariance`.

    The design is that of `_posterior`; `sigma` is its range.
    """
    candidates = len(covariance)
    log_u, log_b, shrinkage = _ratios(design.shape[1], candidates)
    # What samples do to all candidates alike is part of mu, which has no prior. Where seeds hardly
    # differ it is so much larger than the rest that the equations could not be solved with it.
    centred = covariance - covariance.mean(axis=0)
    centred -= centred.mean(axis=1)[:, None]
    roots, vectors = np.linalg.eigh(centred)
    least = max(_NO_ERROR, _ROUNDING * float(roots.max()))
    precision = (vectors / np.maximum(roots, least)) @ vectors.T
    extended = np.hstack([design, design[:, 1 : 1 + candidates]])
    size, first = extended.shape[1], design.shape[1]
    prior = np.zeros((len(log_u), size, size))
    prior[:, range(first), range(first)] = shrinkage
    grid = np.geomspace(sigma[0], sigma[1], _SIGMA_POINTS)
    log_weights, parts = [], []
    for at in grid:
        prior[:, first:, first:] = at**2 * precision
        means, covariances, squares, log_determinants = _solve(extended, y, prior, candidates)
        log_weights.append(
            -0.5 * log_determinants
            + _log_priors(design, candidates, log_u, log_b)
            - 0.5 * squares / at**2
            - (len(y) - 1 - candidates) * math.log(at)
        )
        parts.append((means, covariances, squares))
    centres, covariances, squares = (np.concatenate(part) for part in zip(*parts, strict=True))
    return _Posterior(
        _normalised(np.concatenate(log_weights)),
        centres,
        covariances,
        squares,
        len(y) - 1,
        np.tile(np.exp(log_b), len(grid)),
        np.repeat(grid, len(log_u)),
    )


def _ratios(columns: int, candidates: int) -> tuple[Array, Array, Array]:
    """The grid: log tau / sigma, log omega / sigma, and the precisions of all effects (× columns).

    Precisions are in units of 1 / sigma².
    """
    log_u, log_b = (grid.ravel() for grid in np.meshgrid(_LOG_RATIOS, _LOG_RATIOS))
    shrinkage = np.zeros((len(log_u), columns))
    shrinkage[:, 1 : 1 + candidates] = np.exp(-2 * log_u)[:, None]
    shrinkage[:, 1 + candidates :] = np.exp(-2 * log_b)[:, None]
    return log_u, log_b, shrinkage


def _solve(
    design: Array, y: Array, prior: Array, candidates: int
) -> tuple[Array, Array, Array, Array]:
    """Solve the mixed model equations at each point, whose effects have the precisions `prior`.

    Returns the candidates' means, their covariances over sigma², what is left of the sum of
    squares, and the logarithm of the determinant of the equations.
    """
    equations = design.T @ design + prior
    inverse = np.linalg.inv(equations)
    right = design.T @ y
    solution = inverse @ right
    picked = np.zeros((candidates, design.shape[1]))
    picked[:, 0] = 1.0
    picked[:, 1 : 1 + candidates] = np.eye(candidates)
    return (
        solution @ picked.T,
        picked @ inverse @ picked.T,
        np.maximum(y @ y - solution @ right, _NO_NOISE),
        np.linalg.slogdet(equations)[1],
    )


def _log_priors(design: Array, candidates: int, log_u: Array, log_b: Array) -> Array:
    """Of the effects' scale, and the half-Cauchy priors of the ratios, as those of logarithms."""
    seeds = design.shape[1] - 1 - candidates
    return np.asarray(
        -candidates * log_u - seeds * log_b - np.log(np.cosh(log_u)) - np.log(np.cosh(log_b))
    )


def _normalised(log_weights: Array) -> Array:
    weights = np.exp(log_weights - log_weights.max())
    return np.asarray(weights / weights.sum())


def _draw(posterior: _Posterior) -> _Draws:
    """Of the candidates' means, and of the noise."""
    random = np.random.default_rng(0)
    at = (np.arange(_DRAWS) + 0.5) / _DRAWS
    points = np.searchsorted(np.cumsum(posterior.weights), at).clip(max=len(posterior.weights) - 1)
    normal = random.standard_normal((_DRAWS, posterior.centres.shape[1]))
    if posterior.sigma is None:
        sigma = np.sqrt(posterior.squares[points] / random.chisquare(posterior.freedom, _DRAWS))
    else:
        sigma = posterior.sigma[points]
    draws: Array = posterior.centres[points]
    visited, first = np.unique(points, return_index=True)  # the points are in order
    values, vectors = np.linalg.eigh(posterior.covariances[visited])
    roots = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
    for root, start, end in zip(roots, first, [*first[1:], _DRAWS], strict=True):
        draws[start:end] += sigma[start:end, None] * (normal[start:end] @ root.T)
    omega = posterior.seed_ratios[points] * sigma
    return _Draws(draws, sigma, omega, random.standard_normal(_DRAWS), np.ones(_DRAWS))


def _estimate(
    own: Mapping[int, float], best: Mapping[int, float], probability: float, draws: _Draws,
    sign: float, samples: float | None, samples_of_gap: float,
) -> Estimate:  # fmt: skip
    """Estimate a candidate with the values `own`, compared with `best`, the likeliest best's.

    `samples` is the variance of its mean over samples, `samples_of_gap` that of the difference.
    """
    mean = _mean([*own.values()])
    reach = draws.reach(1 / len(own), 1 / len(own), samples or 0.0)
    both = [seed for seed in own if seed in best]
    if own is best:
        behind, gap = 0.0, 0.0
    elif both:
        behind = sign * _mean([own[seed] - best[seed] for seed in both])
        # What the seeds do to both is gone.
        gap = draws.reach(2 / len(both), 0.0, samples_of_gap)
    else:
        behind = sign * (mean - _mean([*best.values()]))
        variance = 1 / len(own) + 1 / len(best)
        gap = draws.reach(variance, variance, samples_of_gap)
    return Estimate(
        mean=mean,
        low=mean - reach,
        high=mean + reach,
        behind=behind,
        behind_low=behind - gap,
        behind_high=behind + gap,
        probability=probability,
        of_samples=None if samples is None else draws.of_samples(1 / len(own), samples),
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
