"""The width of the good basin."""

from __future__ import annotations

import math

from synthetic import recipe, sampled, study_of, trial

from lrsearch.analysis.basin import find_basins


def test_the_width_is_the_ratio_of_the_ends_of_what_is_within_5_percent() -> None:
    rates = {0.01: 2.0, 0.05: 1.04, 0.1: 1.0, 0.2: 1.02, 0.3: 1.049, 1.0: 3.0}
    trials = [trial(k, recipe(lr), value) for k, (lr, value) in enumerate(rates.items())]
    basins = find_basins(study_of(trials))
    cosine = next(row for row in basins.rows if row.by == "scheduler")
    assert (cosine.low, cosine.high, cosine.good, cosine.complete) == (0.05, 0.3, 4, 6)
    assert math.isclose(cosine.width or 0, 6)
    assert not cosine.open_low
    assert not cosine.open_high
    assert any("a factor of 6 wide" in line for line in basins.sentences())


def test_a_basin_that_reaches_the_last_rate_tried_is_at_least_so_wide() -> None:
    trials = [trial(k, recipe(0.1 * 2**k), 1.0) for k in range(6)]
    assert any("at least a factor of 32" in s for s in find_basins(study_of(trials)).sentences())


def test_more_is_better_where_the_metric_says_so() -> None:
    rates = {0.01: 0.1, 0.05: 0.90, 0.1: 0.92, 0.2: 0.89, 1.0: 0.3}
    trials = [trial(k, recipe(lr), value) for k, (lr, value) in enumerate(rates.items())]
    study = study_of(trials, "metric.name=val_accuracy", "metric.mode=max")
    row = find_basins(study).rows[0]
    assert (row.low, row.high) == (0.05, 0.2)


def test_optimizers_are_kept_apart_and_batch_sizes_are_shown_too() -> None:
    rows = find_basins(sampled(80)).rows
    assert {row.optimizer for row in rows} == {"sgd", "adamw"}
    assert {"16", "128"} <= {row.group for row in rows if row.by == "batch_size"}


def test_too_few_trials_give_words_instead_of_a_number() -> None:
    basins = find_basins(study_of([trial(k, recipe(0.1 + k), 1.0) for k in range(4)]))
    assert all(row.width is None for row in basins.rows)
    assert "Too few trials" in basins.sentences()[0]


def test_a_fixed_rate_is_said_to_be_fixed() -> None:
    basins = find_basins(study_of([trial(k, recipe(0.1), 1.0) for k in range(6)]))
    assert "Every trial had the learning rate 0.1" in basins.sentences()[0]
