"""The noise between trainings of one recipe with different seeds."""

from __future__ import annotations

from synthetic import recipe, trial

from lrsearch.analysis.noise import Noise, confirmed_noise, seed_noise
from lrsearch.confirm.result import Confirmation, Run


def test_it_is_the_pooled_deviation_of_equal_recipes_with_other_seeds() -> None:
    values = [(0.1, 1.0), (0.1, 3.0), (0.2, 10.0), (0.2, 12.0), (0.3, 99.0)]
    trials = [trial(k, recipe(rate), value) for k, (rate, value) in enumerate(values)]
    assert seed_noise(trials) == Noise(2**0.5, recipes=2, trials=4)


def test_the_same_recipe_with_the_same_seed_tells_nothing() -> None:
    assert seed_noise([trial(0, recipe(), 1.0), trial(1, recipe(), 1.0, seed=1000)]) is None


def test_that_of_a_confirmation_is_pooled_over_its_candidates() -> None:
    values = {6: (1.0, 3.0), 7: (10.0, 12.0), 8: (99.0,)}
    runs = [
        Run(number, seed, "done", "complete", value)
        for number, of_trial in values.items()
        for seed, value in enumerate(of_trial)
    ]
    confirmation = Confirmation("val_loss", "min", {6: 0.2, 7: 0.3, 8: 0.4}, 30, runs, None)
    assert confirmed_noise(confirmation) == Noise(2**0.5, recipes=2, trials=4)


def test_without_a_confirmation_or_a_second_value_it_is_not_known() -> None:
    runs = [Run(6, 0, "done", "complete", 0.2)]
    assert confirmed_noise(Confirmation("val_loss", "min", {6: 0.2}, 30, runs, None)) is None
    assert confirmed_noise(None) is None
