"""The error of evaluation samples: what resampling them would show, in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrsearch.confirm.sampling import sampling_error

SAMPLES = 60


def drawn(seed: int, candidates: int, seeds: int, samples: int = SAMPLES) -> np.ndarray:
    """Values of candidate × seed × sample, with samples that are hard for all, one, and one run."""
    random = np.random.default_rng(seed)
    return np.asarray(
        2.0 * random.normal(size=samples)
        + random.normal(size=(candidates, 1, samples))
        + random.normal(size=(candidates, seeds, samples))
    )


def of_runs(values: np.ndarray) -> dict[int, dict[int, list[float]]]:
    return {
        c: {s: [*map(float, run)] for s, run in enumerate(runs)} for c, runs in enumerate(values)
    }


def test_it_is_the_covariance_of_means_over_resamplings_of_the_same_samples() -> None:
    values = drawn(0, candidates=3, seeds=1)
    error = sampling_error(of_runs(values))
    assert error is not None
    random = np.random.default_rng(1)
    weights = random.multinomial(SAMPLES, np.full(SAMPLES, 1 / SAMPLES), 20_000) / SAMPLES
    resampled = np.cov(values[:, 0] @ weights.T)
    # Of n samples, resampling shows n - 1 of n parts of the variance.
    assert error.covariance == pytest.approx(resampled * SAMPLES / (SAMPLES - 1), rel=0.1, abs=2e-3)
    assert error.freedom == SAMPLES - 1


def test_what_samples_do_to_one_run_alone_is_left_to_the_noise_between_seeds() -> None:
    values = drawn(2, candidates=2, seeds=40, samples=4000)
    error = sampling_error(of_runs(values))
    assert error is not None
    # By what is hard for all 4, by what is hard for the candidate 1, and none by the runs.
    assert error.covariance * 4000 == pytest.approx(np.array([[5, 4], [4, 5]]), rel=0.1)


def test_candidates_need_not_have_the_same_seeds() -> None:
    values = of_runs(drawn(3, candidates=2, seeds=3))
    del values[1][0], values[1][1]
    error = sampling_error(values)
    assert error is not None
    pair = [error.of([0])[0, 0], error.of([1, 0])[0, 1]]
    first, other = (np.array([*values[c].values()]) for c in (0, 1))
    cross = [np.cov(first[0], first[1])[0, 1], np.cov(first[1], first[2])[0, 1],
             np.cov(first[0], first[2])[0, 1]]  # fmt: skip
    with_other = [np.cov(run, other[0])[0, 1] for run in first[:2]]  # their seeds differ
    assert pair == pytest.approx(
        [np.mean(cross) / SAMPLES, np.mean(with_other) / SAMPLES], rel=0.05
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 4), st.integers(2, 12))
def test_no_combination_of_candidates_has_a_variance_below_zero(
    seed: int, candidates: int, seeds: int, samples: int
) -> None:
    error = sampling_error(of_runs(drawn(seed, candidates, seeds, samples)))
    assert error is not None
    assert np.linalg.eigvalsh(error.covariance).min() >= -1e-9
    assert error.covariance == pytest.approx(error.covariance.T)


@pytest.mark.parametrize("runs", [{}, {1: {0: [0.5]}}, {1: {0: [0.5, 1.0], 1: [0.5]}}])
def test_it_is_not_known_without_samples_that_all_runs_share(
    runs: dict[int, dict[int, list[float]]],
) -> None:
    assert sampling_error(runs) is None
