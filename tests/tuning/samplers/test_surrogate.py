"""The Gaussian process: what it learns, and how it treats values that are not sure."""

from __future__ import annotations

import numpy as np
import pytest

from lrsearch.tuning.samplers.surrogate import Surrogate


def bowl(rows: np.ndarray) -> np.ndarray:
    return np.asarray(((rows - 0.3) ** 2).sum(axis=1))


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return np.random.default_rng(0).random((40, 3))


def test_it_learns_a_smooth_function_and_knows_how_well(rows: np.ndarray) -> None:
    model = Surrogate(rows, bowl(rows), np.zeros(40))
    new = np.random.default_rng(1).random((200, 3))
    mean, deviation = model.predict(new)
    errors = mean - bowl(new)
    assert np.sqrt(np.mean(errors**2)) < 0.1 * bowl(new).std()
    assert np.mean(np.abs(errors) < 3 * deviation) > 0.9


def test_values_that_are_not_sure_are_not_followed(rows: np.ndarray) -> None:
    values = bowl(rows)
    values[0] += 5.0
    variances = np.zeros(40)
    variances[0] = 100.0
    careful = Surrogate(rows, values, variances)
    assert careful.predict(rows[:1])[0][0] == pytest.approx(bowl(rows)[0], abs=0.3)


def test_many_columns_do_not_make_few_values_look_like_noise() -> None:
    rows = np.random.default_rng(0).random((25, 20))
    values = np.sin(3 * rows[:, 0])
    mean, _ = Surrogate(rows, values, np.zeros(25)).predict(rows)
    assert np.corrcoef(mean, values)[0, 1] > 0.95


def test_other_values_with_the_same_smoothness(rows: np.ndarray) -> None:
    model = Surrogate(rows, bowl(rows), np.zeros(40))
    again = model.with_data(rows, bowl(rows) * 10 + 3, np.zeros(40))
    assert again.predict(rows)[0] == pytest.approx(bowl(rows) * 10 + 3, abs=0.2)
