"""The width of the good basin."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

from synthetic import recipe, sampled, study_of, trial

from lrsearch.analysis.basin import Basins, find_basins
from lrsearch.analysis.scaling import fit_scaling
from lrsearch.analysis.study_data import StudyData

NONE: Mapping[int, float] = {}


def found(study: StudyData) -> Basins:
    return find_basins(study, fit_scaling(study, NONE), NONE)


def bowl(rate: float) -> float:
    """Within 5 % of its least where the rate is within a factor of e of 0.1."""
    return 1 + 0.05 * math.log(rate / 0.1) ** 2


def test_the_width_is_that_of_the_curve_and_not_of_the_rates_that_were_tried() -> None:
    rates = [0.01 * 100 ** (k / 6) for k in range(7)]
    basins = found(study_of([trial(k, recipe(rate), bowl(rate)) for k, rate in enumerate(rates)]))
    cosine = next(row for row in basins.rows if row.by == "scheduler")
    assert cosine.curve is not None
    basin = cosine.curve.basin
    assert math.isclose(cosine.width or 0, math.e**2, rel_tol=0.05)
    assert math.isclose(basin.low, 0.1 / math.e, rel_tol=0.05)
    assert math.isclose(basin.high, 0.1 * math.e, rel_tol=0.05)
    assert math.isclose(cosine.curve.optimum, 0.1, rel_tol=0.05)
    assert not basin.open_low
    assert not basin.open_high


def test_the_interval_of_the_width_holds_the_truth_where_values_are_noisy() -> None:
    held, seeds = 0, 20
    for seed in range(seeds):
        rng = random.Random(seed)
        rates = [0.01 * 100 ** rng.random() for _ in range(20)]
        trials = [
            trial(k, recipe(rate), bowl(rate) + rng.gauss(0, 0.02)) for k, rate in enumerate(rates)
        ]
        curve = found(study_of(trials)).rows[0].curve
        assert curve is not None
        held += curve.basin.width_low <= math.e**2 <= curve.basin.width_high
    assert held >= 16


def test_a_basin_that_reaches_the_last_rate_tried_is_open() -> None:
    trials = [trial(k, recipe(0.1 * 2**k), 1.0 + k / 1000) for k in range(8)]
    curve = found(study_of(trials)).rows[0].curve
    assert curve is not None
    assert curve.basin.open_low
    assert curve.basin.open_high
    assert math.isclose(curve.basin.width, 128)


def test_more_is_better_where_the_metric_says_so() -> None:
    rates = [0.01 * 100 ** (k / 8) for k in range(9)]
    trials = [
        trial(k, recipe(rate), 0.9 - 0.045 * math.log(rate / 0.1) ** 2)
        for k, rate in enumerate(rates)
    ]
    row = found(study_of(trials, "metric.name=val_accuracy", "metric.mode=max")).rows[0]
    assert math.isclose(row.width or 0, math.e**2, rel_tol=0.05)


def test_a_diverged_value_does_not_narrow_the_basin() -> None:
    rates = [0.01 * 100 ** (k / 8) for k in range(9)]
    trials = [trial(k, recipe(rate), bowl(rate)) for k, rate in enumerate(rates)]
    row = found(study_of([*trials, trial(9, recipe(2.0), 4000.0)])).rows[0]
    assert math.isclose(row.width or 0, math.e**2, rel_tol=0.05)


def test_optimizers_are_kept_apart_and_batch_sizes_are_shown_too() -> None:
    basins = found(sampled(120))
    assert {row.optimizer for row in basins.rows} == {"sgd", "adamw"}
    assert {"16", "128"} <= {row.group for row in basins.rows if row.by == "batch_size"}
    assert [response.optimizer for response in basins.responses] == ["adamw", "sgd"]
    # At 0.1 and 0.002 at batch size 32; they grow as the square root of the batch size.
    for response, at_32 in zip(basins.responses, (0.002, 0.1), strict=True):
        assert response.aligned
        best = at_32 * math.sqrt(response.curve.batch_size / 32)
        assert math.isclose(response.curve.optimum, best, rel_tol=0.1)


def test_pruned_trials_count_with_their_forecast() -> None:
    rates = [0.01 * 100 ** (k / 8) for k in range(9)]
    trials = [
        trial(k, recipe(rate), bowl(rate), "complete" if 2 <= k <= 6 else "pruned")
        for k, rate in enumerate(rates)
    ]
    forecast = {k: bowl(rates[k]) for k in (0, 1, 7, 8)}
    study = study_of(trials)
    row = find_basins(study, fit_scaling(study, forecast), forecast).rows[0]
    assert (row.complete, row.pruned) == (5, 4)
    assert math.isclose(row.width or 0, math.e**2, rel_tol=0.05)


def test_too_few_trials_give_no_number() -> None:
    basins = found(study_of([trial(k, recipe(0.1 + k), 1.0) for k in range(4)]))
    assert all(row.width is None for row in basins.rows)


def test_a_fixed_rate_is_told() -> None:
    assert found(study_of([trial(k, recipe(0.1), 1.0) for k in range(6)])).fixed == 0.1
