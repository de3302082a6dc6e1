"""The verdict: which trial to use, and what its lead is worth."""

from __future__ import annotations

from dataclasses import replace

import pytest
from synthetic import recipe, study_of, trial

from lrsearch.analysis.sentences.verdict import verdict_line
from lrsearch.analysis.study_data import StudyData
from lrsearch.analysis.verdict import find_verdict, is_default
from lrsearch.confirm.result import Confirmation, Run
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig

DEFAULT = Recipe(1e-3, 32, ComponentConfig("adamw"), ComponentConfig("constant"))


def confirmed(values: dict[int, list[float]], mode: str = "min", **more: object) -> StudyData:
    """A study whose trials, with values 0.1, 0.2, ... in the search, were confirmed."""
    trials = [trial(number, recipe(0.1 + number), 0.1 * (k + 1)) for k, number in enumerate(values)]
    runs = [
        Run(number, seed, "done", "complete", value)
        for number, known in values.items()
        for seed, value in enumerate(known)
    ]
    found = {known.number: float(known.value or 0.0) for known in trials}
    confirmation = Confirmation("val_loss", mode, found, len(trials), runs, None)  # type: ignore[arg-type]
    overrides = () if mode == "min" else ("metric.name=val_accuracy", "metric.mode=max")
    return replace(study_of(trials, *overrides), confirmation=confirmation)


def test_what_torch_does_by_itself_is_the_default() -> None:
    assert is_default(DEFAULT)
    assert is_default(replace(DEFAULT, batch_size=512))
    for changed in (
        {"lr": 0.01},
        {"warmup": 0.1},
        {"grad_clip": 1.0},
        {"scheduler": ComponentConfig("cosine")},
        {"optimizer": ComponentConfig("adamw", {"weight_decay": 0.1})},
    ):
        assert not is_default(replace(DEFAULT, **changed))  # type: ignore[arg-type]


def test_the_best_is_compared_with_the_default_where_that_was_tried() -> None:
    trials = [trial(0, DEFAULT, 0.5), trial(1, recipe(0.1), 0.25), trial(2, recipe(0.2), 0.3)]
    verdict = find_verdict(study_of(trials))
    assert verdict.reference is not None
    assert (verdict.reference.trial, verdict.reference.is_default) == (0, True)
    assert verdict.reference.lead == pytest.approx(0.25)
    assert verdict.reference.place == 3
    assert verdict_line(find_verdict(study_of(trials))).startswith(
        "Use trial 1. It is better than the default (trial 0: 0.5 against 0.25). Whether its lead"
    )
    assert find_verdict(study_of(trials[1:])).reference is None


def test_a_setting_of_the_user_s_own_is_what_it_is_compared_with_otherwise() -> None:
    trials = [trial(0, recipe(0.5), 0.5), trial(1, recipe(0.1), 0.25)]
    verdict = find_verdict(study_of(trials, "study.try_first=[{lr: 0.5}]"))
    assert verdict.reference is not None
    assert (verdict.reference.trial, verdict.reference.is_default) == (0, False)


def test_more_is_better_where_the_metric_says_so() -> None:
    trials = [trial(0, DEFAULT, 0.9), trial(1, recipe(0.1), 0.95)]
    verdict = find_verdict(study_of(trials, "metric.name=val_accuracy", "metric.mode=max"))
    assert verdict.best == 1
    assert verdict.reference is not None
    assert verdict.reference.lead == pytest.approx(0.05)
    assert verdict.rival is not None
    assert verdict.rival.lead == pytest.approx(0.05)


def test_equal_values_are_a_tie() -> None:
    trials = [trial(k, recipe(0.1 + k), value) for k, value in enumerate([0.2, 0.2, 0.3])]
    assert "It is a tie with trial 1 at val_loss 0.2: either will do." in verdict_line(
        find_verdict(study_of(trials))
    )


def test_luck_in_the_search_is_measured_by_recipes_with_two_seeds() -> None:
    trials = [
        trial(0, recipe(0.1), 0.100), trial(1, recipe(0.2), 0.101),
        trial(2, recipe(0.3), 0.200), trial(3, recipe(0.3), 0.210),
        trial(4, recipe(0.4), 0.300), trial(5, recipe(0.4), 0.310),
    ]  # fmt: skip
    rival = find_verdict(study_of(trials)).rival
    assert rival is not None
    assert rival.luck is not None
    assert 0.4 < rival.luck < 0.5
    assert not rival.confirmed
    far = [replace(trials[0], value=0.01), *trials[1:]]
    luck = find_verdict(study_of(far)).rival
    assert luck is not None
    assert luck.luck is not None
    assert luck.luck < 0.02


def test_fresh_seeds_decide_where_there_are_some() -> None:
    noisy = find_verdict(confirmed({4: [0.20, 0.24, 0.22], 7: [0.21, 0.22, 0.24]}))
    assert noisy.rival is not None
    assert noisy.rival.confirmed
    assert noisy.rival.luck is not None
    assert 0.2 < noisy.rival.luck < 0.6
    clear = find_verdict(confirmed({4: [0.20, 0.201, 0.202], 7: [0.41, 0.411, 0.414]}))
    assert (clear.best, clear.value) == (4, pytest.approx(0.201))
    assert clear.rival is not None
    assert clear.rival.luck is not None
    assert clear.rival.luck < 0.02


def test_runs_that_are_all_equal_are_a_tie() -> None:
    verdict = find_verdict(confirmed({4: [0.2, 0.2], 7: [0.2, 0.2]}))
    assert verdict.rival is not None
    assert verdict.rival.ties == (verdict.rival.trial,)


@pytest.mark.parametrize("count", [0, 1])
def test_without_another_trial_there_is_no_rival(count: int) -> None:
    verdict = find_verdict(study_of([trial(k, recipe(), 0.5) for k in range(count)], total=3))
    assert verdict.rival is None
    assert not verdict.ended
    assert verdict.complete == count
