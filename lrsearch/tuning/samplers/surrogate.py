"""A Gaussian process over settings, whose values have different variances."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

Array = NDArray[np.float64]

_ITERATIONS = 40
"""Largest number of iterations of the fit."""
_VARIANCE, _VARIANCE_WIDTH = 1.0, 1.0
"""Median of the prior of the variance, and the standard deviation of its logarithm."""
_LENGTH_WIDTH = 0.8
"""Standard deviation of the logarithm of each length scale in its prior."""
_NOISE, _NOISE_WIDTH = 1e-2, 2.0
"""Median of the prior of the noise variance, and the standard deviation of its logarithm."""


def _prior_length(columns: int) -> float:
    """Return the mean of the log length scale in its prior.

    The length grows with the root of the number of columns: with a constant one, the prior would
    assume a more complicated function the more columns there are (Hvarfner, Hellsten, Nardi 2024,
    arXiv 2402.02229).
    """
    return 0.5 * math.log(columns) - 0.5


class _Regressor(GaussianProcessRegressor):  # type: ignore[misc]
    """Scikit-learn's regressor with log-normal priors on variance, length scales and noise."""

    def log_marginal_likelihood(
        self, theta: Any = None, eval_gradient: bool = False, clone_kernel: bool = True
    ) -> Any:
        likelihood = super().log_marginal_likelihood(theta, eval_gradient, clone_kernel)
        if theta is None:
            return likelihood
        columns = len(theta) - 2
        center = np.r_[
            math.log(_VARIANCE), np.full(columns, _prior_length(columns)), math.log(_NOISE)
        ]
        width = np.r_[_VARIANCE_WIDTH, np.full(columns, _LENGTH_WIDTH), _NOISE_WIDTH]
        z = (theta - center) / width
        if eval_gradient:
            return likelihood[0] - 0.5 * z @ z, likelihood[1] - z / width
        return likelihood - 0.5 * z @ z


class Surrogate:
    """Predicts values from points of the unit cube (rows × columns)."""

    def __init__(self, rows: Array, values: Array, variances: Array, kernel: Any = None) -> None:
        """Fit to `values` with their `variances`. A given `kernel` is used as it is, not fitted."""
        fit = kernel is None
        if kernel is None:
            length = np.full(rows.shape[1], math.exp(_prior_length(rows.shape[1])))
            kernel = ConstantKernel(_VARIANCE, (0.05, 20.0)) * Matern(
                length, (0.03, 30.0), nu=2.5
            ) + WhiteKernel(_NOISE, (1e-5, 0.5))
        self._center, self._spread = float(values.mean()), max(float(values.std()), 1e-9)
        self._model = _Regressor(
            kernel,
            alpha=variances / self._spread**2 + 1e-8,
            optimizer=_few_iterations if fit else None,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._model.fit(rows, (values - self._center) / self._spread)

    def with_data(self, rows: Array, values: Array, variances: Array) -> Surrogate:
        """Return a model of other data with the kernel of this one."""
        return Surrogate(rows, values, variances, self._model.kernel_)

    def predict(self, rows: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation of the function, without noise, at each row."""
        signal = self._model.kernel_.k1
        between = signal(rows, self._model.X_train_)
        mean = between @ self._model.alpha_
        solved = linalg.solve_triangular(self._model.L_, between.T, lower=True, check_finite=False)
        variance = signal.diag(rows) - (solved * solved).sum(axis=0)
        deviation = np.sqrt(np.maximum(variance, 1e-12))
        return self._center + self._spread * mean, self._spread * deviation


def _few_iterations(
    negative_likelihood: Callable[[Array], Any], initial_theta: Array, bounds: Array
) -> tuple[Array, float]:
    result = optimize.minimize(
        negative_likelihood,
        initial_theta,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": _ITERATIONS},
    )
    return result.x, result.fun
