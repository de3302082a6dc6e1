"""Schedulers and optimizers at equal tuning."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from synthetic import optimizers_of, recipe, schedulers_of, study_of, trial

from lrsearch.analysis.equal_tuning import expected_best
from lrsearch.analysis.families import ALL, Comparison
from lrsearch.analysis.study_data import StudyData, TrialData
from lrsearch.states import Outcome


def family(
    name: str,
    values: list[float],
    first: int,
    outcome: str = Outcome.COMPLETE,
    optimizer: str = "sgd",
) -> list[TrialData]:
    """Trials of a scheduler, each with a rate of its own."""
    return [
        trial(first + k, recipe(0.01 + k / 1000, scheduler=name, optimizer=optimizer), v, outcome)
        for k, v in enumerate(values)
    ]


def comparison(study: StudyData) -> Comparison:
    (only,) = schedulers_of(study).comparisons
    return only


def test_the_best_at_equal_tuning_comes_first_whoever_has_the_best_trial() -> None:
    """A single lucky trial among forty is no better than five that are all good."""
    many = family("step", [1.0] * 39 + [0.1], 0)
    few = family("cosine", [0.2, 0.21, 0.22, 0.23, 0.24], 40)
    found = comparison(study_of(many + few))
    assert found.tries == 2
    assert [option.name for option in found.options] == ["cosine", "step"]


def test_three_trials_with_one_bad_value_are_expected_to_reach_the_good_one() -> None:
    trials = family("cosine", [0.0411, 0.0411, 2.90], 0) + family("step", [0.05, 0.06, 0.07], 9)
    first, _ = comparison(study_of(trials)).options
    assert first.expected is not None
    assert first.expected.value == pytest.approx(0.0411)


def test_the_interval_of_a_share_has_no_end_that_a_share_cannot_reach() -> None:
    trials = family("cosine", [0.99, 0.98, 0.7], 0) + family("step", [0.9, 0.6, 0.2], 9)
    found = comparison(study_of(trials, "metric.name=val_accuracy"))
    for option in found.compared:
        assert option.expected is not None
        assert 0 <= option.expected.low <= option.expected.value <= option.expected.high <= 1


def test_schedulers_are_compared_within_an_optimizer() -> None:
    """Step looks best of all, since it was tried with the better optimizer alone."""
    trials = [
        *family("cosine", [0.50, 0.52, 0.54, 0.56], 0),
        *family("linear", [0.60, 0.62, 0.64, 0.66], 10),
        *family("step", [0.30, 0.32, 0.34, 0.36], 20, optimizer="adamw"),
        *family("cosine", [0.10, 0.12, 0.14, 0.16], 30, optimizer="adamw"),
    ]
    adamw, sgd = schedulers_of(study_of(trials)).comparisons
    assert (adamw.within, [option.name for option in adamw.options]) == (
        "adamw", ["cosine", "step"],
    )  # fmt: skip
    assert (sgd.within, [option.name for option in sgd.options]) == ("sgd", ["cosine", "linear"])


def test_schedulers_with_few_trials_of_each_optimizer_are_compared_over_all_of_them() -> None:
    """Provided that none was tried more often with a better optimizer."""
    trials = [
        *family("cosine", [0.50, 0.52], 0),
        *family("step", [0.60, 0.62], 10),
        *family("cosine", [0.10, 0.12], 20, optimizer="adamw"),
        *family("step", [0.30, 0.32], 30, optimizer="adamw"),
    ]
    (over_all,) = schedulers_of(study_of(trials)).comparisons
    assert over_all.within == ALL
    assert [(option.name, option.tries) for option in over_all.options] == [
        ("cosine", 4), ("step", 4),
    ]  # fmt: skip
    uneven = [*trials[:6], *family("cosine", [0.1], 40, optimizer="adam")]
    found = schedulers_of(study_of(uneven))
    assert found.compared == ()
    assert [each.within for each in found.not_compared] == ["adam", "adamw", "sgd"]


def test_optimizers_are_compared_over_all_schedulers() -> None:
    trials = [
        *family("cosine", [0.50, 0.52], 0),
        *family("linear", [0.60, 0.62], 10),
        *family("step", [0.30, 0.32], 20, optimizer="adamw"),
        *family("cosine", [0.10, 0.12], 30, optimizer="adamw"),
    ]
    found = optimizers_of(study_of(trials), ["sgd", "adamw", "muon"])
    assert found is not None
    (only,) = found.comparisons
    assert [(option.name, option.tries) for option in only.options] == [("adamw", 4), ("sgd", 4)]
    assert found.untried == ("muon",)
    cells = {(cell.optimizer, cell.scheduler): cell for cell in found.cells}
    assert found.tries_of_cells == 2
    assert cells["adamw", "cosine"].expected == 0.10
    assert cells["sgd", "linear"].tries == 2


def test_one_optimizer_alone_is_not_compared() -> None:
    study = study_of(family("cosine", [0.1] * 4, 0))
    assert optimizers_of(study, ["sgd"]) is None


def test_diverged_trials_count_as_the_worst_complete_one() -> None:
    clean = family("cosine", [0.3, 0.31, 0.32, 0.33], 0)
    broken = family("step", [0.29], 10) + [
        trial(20 + k, recipe(0.5 + k, scheduler="step"), None, Outcome.DIVERGED, epochs=0)
        for k in range(3)
    ]
    expected = {o.name: o.expected for o in comparison(study_of(clean + broken)).options}
    assert expected["step"] is not None
    assert expected["step"].value == pytest.approx(
        expected_best([0.29, 0.33, 0.33, 0.33], 2, "min")
    )


def test_pruned_trials_count_with_their_forecast() -> None:
    """Values fall by a third from the second epoch to the last: so would those of the pruned."""
    whole = family("cosine", [0.3 + k / 50 for k in range(12)], 0)
    pruned = [
        replace(cut, outcome=Outcome.PRUNED, curve=cut.curve[:2], value=cut.curve[1].value)
        for cut in family("step", [0.50, 0.52, 0.54], 20)
    ]
    study = study_of([*whole, *family("step", [0.45], 30), *pruned])
    found = {option.name: option for option in comparison(study).options}
    assert found["step"].expected is not None
    assert found["step"].expected.value == pytest.approx(
        expected_best([0.45, 0.50, 0.52, 0.54], 2, "min"), abs=0.03
    )
    assert found["step"].values == (0.45,)


def test_seeds_of_one_recipe_count_as_one_trial() -> None:
    """The intervals are over seeds, too, and a recipe is not better for being repeated."""
    same = [trial(50 + k, recipe(0.3), 0.2 + k / 100, seed=k) for k in range(6)]
    trials = [*family("cosine", [0.4, 0.5, 0.6], 0), *family("step", [0.3, 0.4, 0.5, 0.6], 10)]
    found = comparison(study_of([*trials, *same]))
    assert found.over_seeds
    cosine = {option.name: option for option in found.options}["cosine"]
    assert cosine.expected is not None
    assert cosine.expected.value == pytest.approx(expected_best([0.225, 0.4, 0.5, 0.6], 2, "min"))
    assert not comparison(study_of(trials)).over_seeds


def test_options_with_few_trials_come_last_and_are_not_compared() -> None:
    trials = family("cosine", [0.1] * 4, 0) + family("linear", [0.2] * 4, 5)
    found = comparison(study_of(trials + family("step", [0.0], 20)))
    assert [option.name for option in found.compared] == ["cosine", "linear"]
    assert found.options[-1].name == "step"


def test_without_a_complete_trial_nothing_is_compared() -> None:
    trials = family("plateau", [0.1] * 3, 0, "pruned") + family("step", [0.2] * 3, 5, "pruned")
    assert comparison(study_of(trials)).compared == ()
    assert schedulers_of(study_of([], total=3)).comparisons == ()


def test_a_clear_winner_is_named_and_a_small_lead_is_not() -> None:
    good = family("cosine", [0.10, 0.11, 0.12, 0.13, 0.14, 0.15, 0.16, 0.17], 0)
    bad = family("step", [0.5 + k / 50 for k in range(8)], 20)
    close = family("step", [0.11, 0.12, 0.125, 0.13, 0.14, 0.15, 0.16, 0.17], 20)
    clear = comparison(study_of(good + bad))
    assert clear.winner is not None
    assert clear.winner.name == "cosine"
    assert comparison(study_of(good + close)).winner is None
    assert len(comparison(study_of(good + close)).contenders) == 2


def test_schedulers_that_share_the_epochs_are_judged_by_half_of_what_theirs_bought() -> None:
    cheap = [trial(k, recipe(0.01 + k / 1000), 1.0 + k / 100, epochs=1) for k in range(12)]
    whole = family("linear", [0.9, 1.0, 1.1, 1.2], 20)
    found = comparison(study_of([*cheap, *whole], "study.balance=families"))
    assert found.balanced
    options = {option.name: option for option in found.options}
    for name, values, tries in (("cosine", cheap, 6), ("linear", whole, 2)):
        expected = options[name].expected
        assert expected is not None
        known = [of.value or 0.0 for of in values]
        assert expected.value == pytest.approx(expected_best(known, tries, "min"))


@pytest.mark.parametrize(
    ("sampler", "adaptive"), [("random", None), ("auto", "auto"), ("tpe", "tpe")]
)
def test_trials_that_a_model_chose_make_intervals_approximate(
    sampler: str, adaptive: str | None
) -> None:
    trials = family("cosine", [0.1] * 4, 0) + family("linear", [0.2] * 4, 5)
    found = schedulers_of(study_of(trials, f"sampler={sampler}"))
    assert found.sampler == adaptive


def test_schedulers_that_were_never_tried_are_known() -> None:
    trials = family("cosine", [0.1] * 4, 0) + family("step", [0.2] * 4, 10)
    found = schedulers_of(study_of(trials), ["constant", "cosine", "step"])
    assert found.untried == ("constant",)


@pytest.mark.parametrize(
    ("loss", "metric", "least"),
    [
        ("", "val_loss", 0.0),
        ("", "val_accuracy", 0.0),
        ("train.loss={_target_: torch.nn.HuberLoss}", "val_loss", -math.inf),
    ],
)
def test_intervals_hold_no_impossible_values(loss: str, metric: str, least: float) -> None:
    """Of three values each they would reach below a loss of 0, or outside the shares."""
    values = [0.01, 0.9, 0.99, 0.02, 0.8, 0.97]
    trials = [
        trial(n, recipe(0.1 + n / 100, scheduler="cosine" if n < 3 else "linear"), value)
        for n, value in enumerate(values)
    ]
    changes = [f"metric.name={metric}", *([loss] if loss else [])]
    (comparison,) = schedulers_of(study_of(trials, *changes)).comparisons
    intervals = [option.expected for option in comparison.compared]
    lows = [interval.low for interval in intervals if interval is not None]
    assert len(lows) == 2
    assert min(lows) == least if math.isfinite(least) else min(lows) < 0
    if metric == "val_accuracy":
        assert max(interval.high for interval in intervals if interval is not None) == 1.0
