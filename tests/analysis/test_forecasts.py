"""Forecasts of the final values of pruned trials."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from synthetic import recipe, study_of, trial

from lrsearch.analysis.forecasts import forecasts
from lrsearch.analysis.study_data import TrialData
from lrsearch.tuning.forecast import Forecaster, Scale, Standing


def falling(number: int, final: float, until: int | None = None, whole: int = 10) -> TrialData:
    """A trial whose value falls to `final`, the lower the more; pruned after `until` epochs."""
    complete = trial(number, recipe(), final, epochs=whole)
    curve = tuple(
        replace(point, value=final + (1.2 - final) * math.exp(-5 * k / whole))
        for k, point in enumerate(complete.curve, 1)
    )
    if until is None:
        return replace(complete, curve=curve, value=curve[-1].value)
    last = curve[until - 1]
    return replace(complete, outcome="pruned", curve=curve[:until], value=last.value)


FINALS = np.linspace(0.1, 0.9, 25)


@pytest.mark.parametrize("until", [3, 5, 8])
def test_a_pruned_trial_is_forecast_about_as_it_would_have_ended(until: int) -> None:
    """Its last value, which the rest of the training would improve, is further off."""
    whole = [falling(k, final) for k, final in enumerate(FINALS)]
    cut = [falling(100 + k, final, until) for k, final in enumerate(FINALS[4::5])]
    forecast = forecasts(study_of([*whole, *cut]))
    assert list(forecast) == [trial.number for trial in cut]
    for pruned, final in zip(cut, FINALS[4::5], strict=True):
        truth = falling(0, final).value or 0.0
        assert abs(forecast[pruned.number] - truth) < 0.05
        assert abs(forecast[pruned.number] - truth) < abs((pruned.value or 0.0) - truth)


def test_no_forecast_is_better_than_the_best_complete_trial() -> None:
    whole = [falling(k, final) for k, final in enumerate(FINALS[5:])]
    forecast = forecasts(study_of([*whole, falling(99, 0.0, 8)]))
    assert forecast[99] == whole[0].value


def test_where_more_is_better_forecasts_mirror_those_where_less_is() -> None:
    def mirrored(of: TrialData) -> TrialData:
        curve = tuple(replace(point, value=-(point.value or 0.0)) for point in of.curve)
        return replace(of, curve=curve, value=-(of.value or 0.0))

    trials = [*(falling(k, final) for k, final in enumerate(FINALS)), falling(50, 0.6, 4)]
    least = forecasts(study_of(trials))
    most = forecasts(study_of([mirrored(of) for of in trials], "metric.mode=max"))
    assert most[50] == pytest.approx(-least[50])


def test_nothing_is_forecast_without_a_complete_trial_or_a_finite_value() -> None:
    assert forecasts(study_of([falling(0, 0.3, 4), falling(1, 0.4, 5)])) == {}
    lost = trial(9, recipe(), None, "pruned", epochs=2)
    lost = replace(lost, curve=tuple(replace(point, value=None) for point in lost.curve))
    assert forecasts(study_of([falling(0, 0.3), falling(1, 0.4), lost])) == {}


def test_a_pruned_trial_is_compared_at_the_same_share_of_training() -> None:
    """Trainings with half as many evaluations count, at the moments between theirs."""
    whole = [falling(k, final, whole=5) for k, final in enumerate(FINALS)]
    (forecast,) = forecasts(study_of([*whole, falling(60, 0.5, 5, whole=10)])).values()
    assert forecast == pytest.approx(falling(0, 0.5).value, abs=0.06)


def test_the_forecast_is_that_of_the_pruner() -> None:
    whole = [falling(k, final) for k, final in enumerate(FINALS)]
    cut = falling(60, 0.5, 6)
    finals = [of.value or 0.0 for of in whole]

    def at(of: TrialData) -> Standing:
        return Standing(of.curve[5].value or 0.0, of.curve[3].value or 0.0, None)

    scale = Scale([*finals, cut.value or 0.0])
    mean = Forecaster(scale, 0.6, [at(of) for of in whole], finals)(at(cut)).mean
    assert forecasts(study_of([*whole, cut]))[60] == pytest.approx(scale.value(mean))
