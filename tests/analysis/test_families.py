"""Scheduler families at equal tuning."""

from __future__ import annotations

import itertools
import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import recipe, study_of, trial

from lrsearch.analysis.families import compare_families, expected_best
from lrsearch.analysis.study_data import TrialData

VALUES = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=12)


@given(VALUES, st.integers(1, 20))
def test_the_expected_best_lies_between_the_mean_and_the_best(
    values: list[float], tries: int
) -> None:
    mean, deviation = expected_best(values, tries, "min")
    assert min(values) - 1e-6 <= mean <= statistics.fmean(values) + 1e-6
    assert deviation >= 0
    highest, _ = expected_best(values, tries, "max")
    assert statistics.fmean(values) - 1e-6 <= highest <= max(values) + 1e-6


@given(VALUES, st.integers(1, 20))
def test_more_tries_are_never_expected_to_be_worse(values: list[float], tries: int) -> None:
    fewer, _ = expected_best(values, tries, "min")
    assert expected_best(values, tries + 1, "min")[0] <= fewer + 1e-6


@pytest.mark.parametrize("tries", [1, 2, 3])
def test_it_is_the_mean_over_all_draws(tries: int) -> None:
    values = [3.0, 1.0, 7.0, 4.0]
    draws = [min(draw) for draw in itertools.product(values, repeat=tries)]
    mean, deviation = expected_best(values, tries, "min")
    assert math.isclose(mean, statistics.fmean(draws))
    assert math.isclose(deviation, statistics.pstdev(draws))


def family(
    name: str, values: list[float], first: int, outcome: str = "complete"
) -> list[TrialData]:
    return [trial(first + k, recipe(0.1, scheduler=name), v, outcome) for k, v in enumerate(values)]


def test_a_family_does_not_win_by_being_tried_more_often() -> None:
    # A single lucky trial among forty against five that are all good.
    many = family("step", [1.0] * 39 + [0.1], 0)
    few = family("cosine", [0.2] * 5, 40)
    families = compare_families(study_of(many + few))
    assert families.equal_tries == 3
    assert [row.name for row in families.rows] == ["cosine", "step"]
    text = " ".join(families.sentences())
    assert "cosine comes first" in text
    assert "5 to 40 tries" in text


def test_pruned_and_diverged_trials_count_against_a_family() -> None:
    clean = family("cosine", [0.3] * 4, 0)
    cut = family("step", [0.29], 10) + family("step", [0.9] * 3, 11, "pruned")
    worst = family("linear", [0.95] * 4, 20)
    families = compare_families(study_of(clean + cut + worst))
    expected = {row.name: row.expected for row in families.rows}
    assert families.equal_tries == 2
    assert math.isclose(expected["cosine"] or 0, 0.3)
    assert (expected["step"] or 0) > 0.3
    assert {row.name: row.epochs for row in families.rows}["step"] == 5 + 3 * 2


def test_families_that_cannot_be_told_apart_are_not_ranked_in_words() -> None:
    values = [0.1, 0.2, 0.3, 0.4]
    trials = family("cosine", values, 0) + family("linear", [v + 0.001 for v in values], 9)
    assert any(
        "cosine and linear cannot be told apart" in line
        for line in compare_families(study_of(trials)).sentences()
    )


def test_a_family_with_too_few_tries_is_left_out_and_named() -> None:
    trials = family("cosine", [0.1] * 4, 0) + family("linear", [0.2] * 4, 5)
    lines = compare_families(study_of(trials + family("step", [0.0], 20))).sentences()
    assert any("step (1)" in line for line in lines)
    assert "cosine comes first" in lines[0]


def test_one_family_alone_with_enough_tries_is_named_and_not_called_too_few() -> None:
    trials = family("plateau", [0.1] * 3, 0) + family("step", [0.2] * 2, 5)
    assert compare_families(study_of(trials)).sentences() == [
        "No winner can be named: only plateau (3) has had the 3 tries that it takes.",
        "Too few tries to compare (fewer than 3): step (2).",
    ]


def test_without_a_complete_trial_nothing_is_compared() -> None:
    trials = family("plateau", [0.1] * 3, 0, "pruned") + family("step", [0.2] * 3, 5, "pruned")
    assert compare_families(study_of(trials)).sentences() == [
        "No winner can be named: no trial has run to its end."
    ]


def test_one_family_is_not_compared() -> None:
    families = compare_families(study_of(family("cosine", [0.1] * 4, 0)))
    assert families.sentences() == [
        "Only cosine was tried (4 trials): there is nothing to compare."
    ]


def test_a_sampler_that_adapts_is_said_to_make_it_approximate() -> None:
    trials = family("cosine", [0.1] * 4, 0) + family("linear", [0.2] * 4, 5)
    lines = compare_families(study_of(trials, "sampler=tpe")).sentences()
    assert any("tpe sampler" in line and "approximate" in line for line in lines)


def test_families_that_share_the_epochs_are_judged_by_half_of_what_theirs_bought() -> None:
    cheap = [trial(k, recipe(), 1.0 + k / 100, "pruned", epochs=1) for k in range(12)]
    whole = [trial(20 + k, recipe(scheduler="linear"), 0.9 + k / 10) for k in range(4)]
    study = study_of([*cheap, *whole], "study.balance=families")
    found = compare_families(study)
    assert found.balanced
    rows = {row.name: row for row in found.rows}
    pruned = sorted((one.value or 0.0 for one in cheap), reverse=True)
    assert rows["cosine"].expected == expected_best(pruned, 6, "min")[0]
    text = " ".join(found.sentences())
    assert "At equal tuning (equal epochs)" in text
    assert "the same epochs (12 to 20), which bought 4 to 12 tries" in text


def test_families_that_were_never_tried_are_named() -> None:
    trials = family("cosine", [0.1] * 4, 0) + family("step", [0.2] * 4, 10)
    lines = compare_families(study_of(trials), ["constant", "cosine", "step"]).sentences()
    assert lines[-1].startswith("In the space, but never tried: constant.")
    assert not any("never tried" in line for line in compare_families(study_of(trials)).sentences())
