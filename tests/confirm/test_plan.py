"""Which recipes are confirmed, and on which seeds."""

from __future__ import annotations

from lrsearch.confirm.plan import SearchTrial, candidates, fresh_seeds


def test_the_best_trials_of_different_recipes_are_chosen() -> None:
    trials = [
        SearchTrial(0, 0.5, {"lr": 1}),
        SearchTrial(1, 0.3, {"lr": 2}),
        SearchTrial(2, 0.2, {"lr": 2}),
        SearchTrial(3, 0.4, {"lr": 3}),
    ]
    assert [one.trial for one in candidates(trials, 2, "min")] == [2, 3]
    assert [one.trial for one in candidates(trials, 9, "max")] == [0, 3, 1]


def test_of_equal_values_the_earlier_trial_comes_first() -> None:
    trials = [SearchTrial(4, 0.5, {"lr": 1}), SearchTrial(2, 0.5, {"lr": 2})]
    assert [one.trial for one in candidates(trials, 1, "min")] == [2]


def test_more_seeds_only_add_to_the_end_and_none_is_used_twice() -> None:
    seeds = fresh_seeds(0, 20)
    assert fresh_seeds(0, 3) == seeds[:3]
    assert len(set(seeds)) == 20
    assert not set(seeds) & set(fresh_seeds(1, 20))
