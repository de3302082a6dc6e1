"""The recipe to use, and how sure that is."""

from __future__ import annotations

import pytest
from synthetic import recipe, study_of, trial

from lrsearch.analysis.sentences import say
from lrsearch.analysis.winner import find_winner


def test_the_best_the_runner_up_and_their_gap_are_named() -> None:
    trials = [trial(k, recipe(0.1 + k), value) for k, value in enumerate([0.5, 0.2, 0.25])]
    winner = find_winner(study_of(trials))
    assert winner.best is trials[1]
    assert winner.runner_up is trials[2]
    assert winner.gap == 0.25 - 0.2
    text = " ".join(say(winner))
    assert "trial 1 with val_loss 0.2" in text
    assert "a gap of 0.05 (25 %)" in text
    assert "None of the other 2 complete trials came within 1 %" in text


@pytest.mark.parametrize(("second", "percent"), [(0.24 * 2.4, "140"), (0.24 * 1.999, "100")])
def test_a_wide_gap_is_written_without_an_exponent(second: float, percent: str) -> None:
    trials = [trial(k, recipe(0.1 + k), value) for k, value in enumerate([0.24, second])]
    assert f"({percent} %)." in " ".join(say(find_winner(study_of(trials))))


def test_the_runner_up_is_among_those_that_came_close() -> None:
    trials = [trial(k, recipe(0.1 + k), value) for k, value in enumerate([1.0, 1.005, 2.0])]
    lines = say(find_winner(study_of(trials)))
    assert "1 of the other 2 complete trials came within 1 %" in lines[1]


def test_more_is_better_where_the_metric_says_so() -> None:
    trials = [trial(k, recipe(), value) for k, value in enumerate([0.5, 0.9, 0.7])]
    study = study_of(trials, "metric.name=val_accuracy", "metric.mode=max")
    assert find_winner(study).best is trials[1]


def test_those_with_the_same_value_are_counted() -> None:
    trials = [trial(k, recipe(0.1 + k), value) for k, value in enumerate([0.2, 0.2, 0.2, 0.3])]
    winner = find_winner(study_of(trials))
    assert (winner.gap, winner.equal) == (0, 2)


def test_with_one_seed_a_recipe_the_report_says_that_the_noise_is_not_known() -> None:
    winner = find_winner(study_of([trial(k, recipe(0.1 + k), 1.0 + k) for k in range(2)]))
    assert winner.noise is None
    assert any("noise between seeds is not known" in line for line in say(winner))


@pytest.mark.parametrize(
    ("confirm", "total", "said"),
    [
        ("confirm=null", 9, "run the same command again with confirm.top=3"),
        ("confirm.top=3", 9, "Once the search has ended, the best 3 will be trained again on 5 "),
        ("confirm.top=3", 2, "Run the same command once more, and the best 2 will be trained "),
    ],
)
def test_how_the_luck_will_be_known_depends_on_what_is_confirmed_and_when(
    confirm: str, total: int, said: str
) -> None:
    trials = [trial(k, recipe(0.1 + k), 1.0 + k) for k in range(2)]
    assert said in " ".join(say(find_winner(study_of(trials, confirm, total=total))))


def test_a_gap_within_the_noise_between_seeds_may_be_chance() -> None:
    values = [(0.1, 1.0), (0.1, 3.0), (0.2, 10.0), (0.2, 12.0), (0.3, 99.0)]
    trials = [trial(k, recipe(rate), value) for k, (rate, value) in enumerate(values)]
    assert any("may well be chance" in line for line in say(find_winner(study_of(trials))))


def test_without_a_complete_trial_nothing_is_recommended() -> None:
    winner = find_winner(study_of([trial(0, recipe(), 0.5, "pruned")]))
    assert winner.best is None
    assert "no recipe to recommend" in say(winner)[0]


def test_a_single_complete_trial_is_not_compared() -> None:
    lines = say(find_winner(study_of([trial(0, recipe(), 0.5)])))
    assert "nothing to compare it with" in lines[1]
