"""The exponent between learning rate and batch size."""

from __future__ import annotations

import itertools

import pytest
from synthetic import recipe, sampled, study_of, trial

from lrsearch.analysis.scaling import fit_scaling
from lrsearch.analysis.study_data import StudyData


@pytest.fixture(scope="module")
def searched() -> StudyData:
    return sampled(400, "space.scheduler.only=[cosine]")


def test_the_exponent_of_the_law_lies_in_its_interval(searched: StudyData) -> None:
    fits = {fit.optimizer: fit for fit in fit_scaling(searched).fits}
    assert set(fits) == {"sgd", "adamw"}
    for fit in fits.values():
        assert fit.low <= 0.5 <= fit.high
        assert abs(fit.exponent - 0.5) < 0.25
        assert fit.high - fit.low < 1


def test_a_grid_around_a_linear_law_gives_one_in_words() -> None:
    grid = itertools.product([32, 64, 128, 256], range(-4, 5))
    trials = [
        trial(n, recipe(0.001 * batch * 1.5**k, batch), 1 + k * k)
        for n, (batch, k) in enumerate(grid)
    ]
    scaling = fit_scaling(study_of(trials))
    (fit,) = scaling.fits
    assert abs(fit.exponent - 1) < 0.01
    assert abs(fit.rate(64) / 0.064 - 1) < 0.05
    text = " ".join(scaling.sentences())
    assert "Doubling the batch size wants 2 times the learning rate" in text
    assert "the linear rule (1)" in text


def test_the_interval_is_the_same_each_time(searched: StudyData) -> None:
    assert fit_scaling(searched) == fit_scaling(searched)


def test_two_batch_sizes_are_too_few() -> None:
    trials = [
        trial(n, recipe(0.1 * 1.5**k, batch), 1.0 + k)
        for n, (batch, k) in enumerate(itertools.product([32, 64], range(8)))
    ]
    scaling = fit_scaling(study_of(trials))
    assert scaling.fits == ()
    assert "too few trials to fit an exponent" in scaling.sentences()[0]


def test_one_batch_size_is_said_to_be_the_only_one() -> None:
    lines = fit_scaling(study_of([trial(0, recipe(), 1.0)])).sentences()
    assert "Every trial had the batch size 32" in lines[0]


def test_a_coupled_space_is_said_to_lean(searched: StudyData) -> None:
    coupled = sampled(200, "space.scheduler.only=[cosine]", "coupling.rule=sqrt")
    assert any("coupling.rule=sqrt" in line for line in fit_scaling(coupled).sentences())
