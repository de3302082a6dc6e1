"""The exponent between learning rate and batch size, of trials by the schedules of a study."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import pytest
from synthetic import lawful, recipe, sampled, study_of, trial

from lrsearch.analysis.scaling import fit_scaling
from lrsearch.analysis.study_data import StudyData

NONE: Mapping[int, float] = {}


@pytest.fixture(scope="module")
def searched() -> StudyData:
    return sampled(200, "space.scheduler.only=[cosine]")


def test_the_exponent_of_the_law_lies_in_its_interval(searched: StudyData) -> None:
    fits = {fit.optimizer: fit for fit in fit_scaling(searched, NONE).fits}
    assert set(fits) == {"sgd", "adamw"}
    for fit in fits.values():
        assert fit.low <= 0.5 <= fit.high
        assert abs(fit.exponent - 0.5) < 0.05
        assert fit.high - fit.low < 0.2


def test_schedulers_of_different_levels_are_fitted_together() -> None:
    fits = fit_scaling(sampled(200), NONE).fits
    assert len(fits) == 2
    for fit in fits:
        assert abs(fit.exponent - 0.5) < 0.05
        assert fit.low <= 0.5 <= fit.high


def test_a_grid_around_a_linear_law_gives_one_and_the_best_rates() -> None:
    grid = itertools.product([32, 64, 128, 256], range(-4, 5))
    trials = [
        trial(n, recipe(0.001 * batch * 1.5**k, batch), 1 + k * k)
        for n, (batch, k) in enumerate(grid)
    ]
    (fit,) = fit_scaling(study_of(trials), NONE).fits
    assert abs(fit.exponent - 1) < 0.01
    assert fit.sizes == (32, 64, 128, 256)
    for batch in fit.sizes:
        assert fit.rate(batch) == pytest.approx(0.001 * batch, rel=0.05)
        low, high = fit.band(batch)
        assert low <= fit.rate(batch) <= high


def test_the_vertices_count_and_not_the_best_rates_of_a_coarse_grid() -> None:
    """The best rates of this grid are 0.046, 0.1, 0.1 and 0.215; its parabolas' exponent is 0.59.

    The mean of the best three rates of each batch size gave 0.33.
    """
    vertices = {64: 0.045, 128: 0.092, 256: 0.123, 512: 0.159}
    rates = [0.01 * 100 ** (k / 6) for k in range(7)]
    trials = [
        trial(n, recipe(rate, batch), 0.1 + 0.05 * math.log(rate / vertices[batch]) ** 2)
        for n, (batch, rate) in enumerate(itertools.product(vertices, rates))
    ]
    (fit,) = fit_scaling(study_of(trials), NONE).fits
    assert fit.exponent == pytest.approx(0.59, abs=0.05)
    assert fit.low > 0


def test_more_is_better_where_the_metric_says_so() -> None:
    flipped = sampled(
        200, "space.scheduler.only=[cosine]", "metric.name=val_accuracy", "metric.mode=max",
        value=lambda used: 1 - lawful(used),
    )  # fmt: skip
    fits = {fit.optimizer: fit for fit in fit_scaling(flipped, NONE).fits}
    assert abs(fits["sgd"].exponent - 0.5) < 0.1


def test_pruned_trials_count_with_their_forecast(searched: StudyData) -> None:
    pruned = {one.number: one.value or 0.0 for one in searched.by_value[60:]}
    cut = study_of(
        [
            trial(one.number, one.recipe, 3.0, "pruned") if one.number in pruned else one
            for one in searched.trials
        ]
    )
    fits = {fit.optimizer: fit for fit in fit_scaling(cut, pruned).fits}
    assert sum(fit.trials for fit in fits.values()) == len(searched.ranked)
    assert abs(fits["sgd"].exponent - 0.5) < 0.05


def test_the_interval_is_the_same_each_time(searched: StudyData) -> None:
    assert fit_scaling(searched, NONE) == fit_scaling(searched, NONE)


def test_two_batch_sizes_are_too_few() -> None:
    trials = [
        trial(n, recipe(0.1 * 1.5**k, batch), 1.0 + k)
        for n, (batch, k) in enumerate(itertools.product([32, 64], range(8)))
    ]
    scaling = fit_scaling(study_of(trials), NONE)
    assert scaling.fits == ()
    assert scaling.unknown[0].why == "few"


def test_rates_that_are_all_too_large_cannot_tell() -> None:
    trials = [
        trial(n, recipe(0.1 * 1.5**k, batch), 1.0 + k + 0.01 * (n * 7 % 5))
        for n, (batch, k) in enumerate(itertools.product([32, 64, 128], range(8)))
    ]
    scaling = fit_scaling(study_of(trials), NONE)
    assert [unknown.why for unknown in scaling.unknown] == ["edge"]


@pytest.mark.parametrize("value", [0.0, 0.3])
def test_equal_values_cannot_tell(value: float) -> None:
    trials = [
        trial(n, recipe(0.01 * 2**k, batch), value)
        for n, (batch, k) in enumerate(itertools.product([32, 64, 128], range(8)))
    ]
    assert [unknown.why for unknown in fit_scaling(study_of(trials), NONE).unknown] == ["flat"]


def test_an_optimum_beyond_the_rates_of_the_largest_size_cannot_tell() -> None:
    """The curve of the other sizes would decide alone where it is."""
    rates = [0.01 * 1.5**k for k in range(9)]
    trials = [
        trial(n, recipe(rate, batch), 1 + math.log(rate / (0.08 * batch / 64)) ** 2)
        for n, (batch, rate) in enumerate(itertools.product([32, 64, 128, 512], rates))
    ]
    scaling = fit_scaling(study_of(trials), NONE)
    assert [unknown.why for unknown in scaling.unknown] == ["edge"]
    (fit,) = fit_scaling(study_of(trials[:27]), NONE).fits
    assert fit.exponent == pytest.approx(1, abs=0.02)


def test_noise_alone_cannot_tell() -> None:
    noise = [(n * 7919 % 101) / 100 for n in range(24)]
    trials = [
        trial(n, recipe(0.01 * 2**k, batch), 1.0 + noise[n])
        for n, (batch, k) in enumerate(itertools.product([32, 64, 128], range(8)))
    ]
    assert fit_scaling(study_of(trials), NONE).fits == ()


def test_the_rule_of_a_coupled_space_does_not_change_the_exponent() -> None:
    coupled = sampled(200, "space.scheduler.only=[cosine]", "coupling.rule=linear")
    scaling = fit_scaling(coupled, NONE)
    assert scaling.rule == "linear"
    for fit in scaling.fits:
        assert abs(fit.exponent - 0.5) < 0.1


@pytest.mark.parametrize(("sampler", "adaptive"), [("random", None), ("qmc", None),
                                                   ("auto", "auto"), ("gp", "gp")])  # fmt: skip
def test_a_sampler_that_chose_by_earlier_values_is_told(sampler: str, adaptive: str | None) -> None:
    assert fit_scaling(study_of([], f"sampler={sampler}"), NONE).sampler == adaptive
