"""A Gaussian process over settings, with values that are known to different degrees."""

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
_VARIANCE, _VARIANCE_WIDTH = 1.0, 1.0
_LENGTH_WIDTH = 0.8
_NOISE, _NOISE_WIDTH = 1e-2, 2.0


def _prior_length(columns: int) -> float:
    """Log of the usual length scale: it grows with the root of the number of columns.

    Otherwise the function is thought the more complicated the more columns there are (Hvarfner,
    Hellsten, Nardi 2024, arXiv 2402.02229).
    """
    return 0.5 * math.log(columns) - 0.5


class _Regressor(GaussianProcessRegressor):  # type: ignore[misc]
    """Scikit-learn's, with log-normal priors on its variance, length scales and noise."""

    def log_marginal_likelihood(
        self, theta: Any = None, eval_gradient: bool = False, clone_kernel: bool = True
    ) -> Any:
        found = super().log_marginal_likelihood(theta, eval_gradient, clone_kernel)
        if theta is None:
            return found
        columns = len(theta) - 2
        center = np.r_[
            math.log(_VARIANCE), np.full(columns, _prior_length(columns)), math.log(_NOISE)
        ]
        width = np.r_[_VARIANCE_WIDTH, np.full(columns, _LENGTH_WIDTH), _NOISE_WIDTH]
        z = (theta - center) / width
        if eval_gradient:
            return found[0] - 0.5 * z @ z, found[1] - z / width
        return found - 0.5 * z @ z


class Surrogate:
    """Predicts values (to be small) from rows of columns in the unit cube."""

    def __init__(self, rows: Array, values: Array, variances: Array, kernel: Any = None) -> None:
        """`variances` are those of the values. A `kernel` that is given is not fitted again."""
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
        """The same function's smoothness, other values."""
        return Surrogate(rows, values, variances, self._model.kernel_)

    def predict(self, rows: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the function without its noise."""
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
    found = optimize.minimize(
        negative_likelihood,
        initial_theta,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": _ITERATIONS},
    )
    return found.x, found.fun
