"""Where training breaks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from synthetic import recipe, settings_for, study_of, trial

from lrsearch.analysis.frontier import Frontier, find_frontier
from lrsearch.analysis.sentences import say
from lrsearch.analysis.study_data import TrialData
from lrsearch.plots.interactive.rates import divergence


def frontier_of(trials: list[TrialData]) -> Frontier:
    return find_frontier(study_of(trials), settings_for())


def test_the_border_is_between_what_survived_and_what_diverged() -> None:
    trials = [
        trial(0, recipe(0.1, 32), 1.0),
        trial(1, recipe(0.4, 32), 1.0, "pruned"),
        trial(2, recipe(0.8, 32), None, "diverged", end_step=12),
        trial(3, recipe(2.0, 32), None, "diverged", end_step=4),
        trial(4, recipe(2.0, 64), 1.0),
    ]
    frontier = frontier_of(trials)
    border = frontier.borders[0]
    assert (border.lowest_diverged, border.highest_survived) == (0.8, 0.4)
    assert frontier.steps == (4, 12)
    lines = say(frontier)
    assert "2 of 5 trials diverged (40 %), half of them by step 8, the last at step 12" in lines[0]
    assert "the smallest learning rate that diverged is 0.8" in lines[1]
    assert len(lines) == 2  # nothing diverged at 64


@pytest.mark.parametrize("count", [1, 3])
def test_one_step_alone_is_said_once(count: int) -> None:
    trials = [trial(k, recipe(0.5 + k), None, "diverged", end_step=441) for k in range(count)]
    lines = say(frontier_of([*trials, trial(count, recipe(0.1), 1.0)]))
    assert lines[0].endswith("), at step 441.")


def test_an_overlap_is_said_not_to_be_decided_by_the_rate() -> None:
    trials = [
        trial(0, recipe(0.9), 1.0),
        trial(1, recipe(0.5), None, "diverged", end_step=1),
    ]
    assert "the rate alone does not decide" in say(frontier_of(trials))[1]


def test_without_divergence_it_says_how_far_was_tried_and_how_far_the_space_goes() -> None:
    trials = [
        trial(0, recipe(0.014), 1.0),
        trial(1, recipe(0.029), 1.0, "pruned"),
        trial(2, recipe(0.03, optimizer="adamw"), 1.0),
    ]
    tried, beyond = say(frontier_of(trials))
    assert "None of 3 trials diverged, up to the highest learning rate tried" in tried
    assert "0.03 with adamw (1 trial) and 0.029 with sgd (2 trials)" in tried
    assert "with sgd to 1, 34 times as far" in beyond
    assert "adamw" not in beyond
    assert "not known" in beyond


def test_without_divergence_to_the_end_of_the_space_training_breaks_beyond_it() -> None:
    lines = say(frontier_of([trial(0, recipe(1.0), 1.0)]))
    assert "That is the end of the space" in lines[1]


def test_a_rate_coupled_to_the_batch_reaches_as_far_as_its_batch_allows() -> None:
    coupled = "coupling.rule=linear"
    study = study_of([trial(0, recipe(0.5, 64, lr_ref=1.0), 1.0)], coupled)
    (reach,) = find_frontier(study, settings_for(coupled)).reached
    assert (reach.highest, reach.end) == (0.5, 0.5)


def test_memory_that_ran_out_is_told_by_batch_size() -> None:
    trials = [trial(k, recipe(0.1, 512), None, "out_of_memory") for k in range(2)]
    frontier = frontier_of(trials)
    assert frontier.out_of_memory == ((512, 2),)
    assert any("512 (2 trials)" in line for line in say(frontier))


def test_a_training_that_learned_nothing_has_not_survived() -> None:
    trials = [
        trial(0, recipe(0.1), 1.0),
        trial(1, recipe(0.29), 2.31),
        trial(2, recipe(0.2), 2.31, "pruned", epochs=1),
    ]
    frontier = frontier_of(trials)
    assert frontier.nothing == {1, 2}
    assert frontier.borders[0].highest_survived == 0.1
    first, second = say(frontier)[:2]
    assert "None of 3 trials diverged, but 2 learned nothing" in first
    assert "0.2 to 0.29 with sgd (2 trials)" in first
    assert "0.1 with sgd" in second
    figure = divergence(study_of(trials), frontier)
    assert figure is not None
    assert [trace.name for trace in figure.data] == ["survived", "learned nothing"]


def test_beside_those_that_diverged_they_are_counted_apart() -> None:
    trials = [
        trial(0, recipe(0.1), 1.0),
        trial(1, recipe(0.3), 2.4),
        trial(2, recipe(0.9), None, "diverged", end_step=3),
    ]
    lines = say(frontier_of(trials))
    assert "the largest that survived 0.1" in lines[1]
    assert "1 further trial learned nothing" in lines[2]


@pytest.mark.parametrize(("values", "nothing"), [((2.0, 2.1), True), ((0.1, 0.12), False),
                                                 ((2.0, 1.9), False), ((2.0,), False)])  # fmt: skip
def test_never_better_than_at_first_is_nothing_unless_it_is_overfitting(
    values: tuple[float, ...], nothing: bool
) -> None:
    one = trial(0, recipe(0.1), values[-1], epochs=len(values))
    curve = [
        replace(evaluation, value=value, values={"val_loss": value})
        for evaluation, value in zip(one.curve, values, strict=True)
    ]
    assert bool(frontier_of([replace(one, curve=tuple(curve))]).nothing) == nothing
