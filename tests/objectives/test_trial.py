"""What a trial reports, and what ends it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lrsearch.errors import TrialPruned, UserError
from lrsearch.evaluation import Evaluation
from lrsearch.objectives.trial import Trial
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.training.loop import Diverged

RECIPE = Recipe(0.1, 32, ComponentConfig("sgd"), ComponentConfig("constant"))


class Taken:
    """Takes reports; ends the trial when it has `enough`."""

    number = 7

    def __init__(self, enough: int = 100, earlier: int = 0) -> None:
        self.evaluations: list[Evaluation] = []
        self.enough, self.earlier = enough, earlier
        self.beats = 0
        self.warnings: list[str] = []

    def __call__(self, evaluation: Evaluation) -> None:
        self.evaluations.append(evaluation)
        if len(self.evaluations) >= self.enough:
            raise TrialPruned

    def progress(self) -> None:
        self.beats += 1

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def restore(self, history: Sequence[Evaluation]) -> None:
        raise AssertionError("for lrsearch's own training")

    def rewind(self, epoch: float, step: float = math.inf) -> int:
        self.rewound = epoch, step
        return self.earlier + 1


def make_trial(
    taken: Taken, recipe: Recipe = RECIPE, folder: str = "unused", steps: int | None = None
) -> Trial:
    """A trial of two epochs, or of `steps`, that reports to `taken`."""
    return Trial(
        recipe,
        taken,
        seed=3,
        device=torch.device("cpu"),
        epochs=2,
        steps=steps,
        checkpoint_dir=folder,
    )


def test_a_step_that_is_not_given_comes_after_the_one_before() -> None:
    taken = Taken()
    report = make_trial(taken).report
    report(0.5, 0.9)
    report(1, 0.8, step=100)
    report(1.5, 0.7)
    report(2, 0.6, step=200)
    assert [one.step for one in taken.evaluations] == [1, 100, 101, 200]
    assert [one.epoch for one in taken.evaluations] == [0.5, 1.0, 1.5, 2.0]


@pytest.mark.parametrize("step", [2, 2.0, np.int32(2), np.float32(2), torch.tensor(2)])
def test_a_step_is_any_whole_number(step: Any) -> None:
    taken = Taken()
    make_trial(taken).report(1, 0.5, step=step)
    assert taken.evaluations[0].step == 2


@pytest.mark.parametrize("step", [2.5, np.float32(0.25), torch.tensor(1.5), -0.5])
def test_a_step_that_is_not_whole_is_refused(step: Any) -> None:
    taken = Taken()
    with pytest.raises(UserError, match=f"step must be a whole number, not {float(step)}"):
        make_trial(taken).report(1, 0.5, step=step)
    assert taken.evaluations == []


@pytest.mark.parametrize(
    ("first", "second", "problem"),
    [
        ((1, 0.5), (1, 0.4), "epoch 1 comes after epoch 1"),
        ((2.5, 0.5), (1, 0.4), r"epoch 1 comes after epoch 2\.5"),
        ((1, 0.5, 7), (2, 0.4, 7), "step 7 comes after step 7"),
        ((1, 0.5, 7), (2, 0.4, 3), "step 3 comes after step 7"),
    ],
)
def test_epochs_and_steps_rise_within_an_attempt(
    first: tuple[float, ...], second: tuple[float, ...], problem: str
) -> None:
    taken = Taken()
    report = make_trial(taken).report

    def call(epoch: float, loss: float, *step: float) -> None:
        report(epoch, loss, **({"step": step[0]} if step else {}))

    call(*first)
    with pytest.raises(UserError, match=problem):
        call(*second)
    assert len(taken.evaluations) == 1


def test_a_later_attempt_reports_the_same_epochs_again() -> None:
    taken = Taken(earlier=2)
    make_trial(taken).report(3, 0.5)
    again = Taken()
    make_trial(again).report(1, 0.5)
    assert (taken.evaluations[0].index, again.evaluations[0].index) == (3, 1)


def test_a_loss_that_is_not_finite_has_diverged() -> None:
    with pytest.raises(Diverged):
        make_trial(Taken()).report(1, float("inf"))


def test_the_rates_recorded_are_those_that_the_optimizer_holds() -> None:
    taken = Taken()
    trial = make_trial(taken, Recipe(0.1, 32, ComponentConfig("sgd"), ComponentConfig("linear")))
    optimizer, schedule = trial.recipe.build(torch.nn.Linear(2, 1), steps=10)
    for _ in range(5):
        optimizer.step()
        schedule.step()
    trial.report(1, 0.5, step=5)
    assert taken.evaluations[0].lr_end == (optimizer.param_groups[0]["lr"],)
    assert 0 < taken.evaluations[0].lr_end[0] < 0.1
    trial.report(2, 0.5, lr=[0.25, 0.5])
    assert taken.evaluations[1].lr_end == (0.25, 0.5)
    assert len(taken.evaluations[1].groups) == 2


def test_without_an_optimizer_the_peak_rate_is_recorded() -> None:
    taken = Taken()
    make_trial(taken).report(1, 0.5)
    assert taken.evaluations[0].lr_end == (0.1,)


def test_a_trial_that_is_pruned_stays_pruned() -> None:
    trial = make_trial(Taken(enough=1))
    assert not trial.should_stop()
    for _ in range(2):  # whoever swallows it meets it again
        with pytest.raises(TrialPruned):
            trial.report(1, 0.5)
    assert trial.should_stop()
    with pytest.raises(TrialPruned):
        trial.raise_again()


def test_pruning_passes_a_loop_that_catches_exceptions() -> None:
    assert not issubclass(TrialPruned, Exception)


def test_a_loss_is_not_needed_where_a_metric_is_reported() -> None:
    taken = Taken()
    make_trial(taken).report(1, accuracy=0.75)
    assert taken.evaluations[0].values == {"accuracy": 0.75}


def test_epochs_of_the_trial_are_the_length_of_an_epoch_in_steps() -> None:
    recipe = Recipe(0.1, 32, ComponentConfig("sgd"), ComponentConfig("constant"), warmup="1ep")
    _, schedule = make_trial(Taken(), recipe).recipe.build(torch.nn.Linear(2, 1), steps=10)
    assert schedule.warmup_steps == 5
    with pytest.raises(UserError, match="length of an epoch"):
        recipe.build(torch.nn.Linear(2, 1), steps=10)


def test_weights_are_copied_when_they_are_given() -> None:
    trial, model = make_trial(Taken()), torch.nn.Linear(2, 1)
    trial.keep_weights(model)
    before = model.weight.detach().clone()
    with torch.no_grad():
        model.weight.add_(1.0)
    assert trial.weights is not None
    assert torch.equal(trial.weights["weight"], before)


def test_the_folder_of_checkpoints_is_made_when_it_is_used(tmp_path: Path) -> None:
    trial = make_trial(Taken(), folder=str(tmp_path / "own"))
    assert not (tmp_path / "own").exists()
    assert Path(trial.checkpoint_dir).is_dir()


# Trainings that are counted in steps, and the length of a training


def test_a_training_counted_in_steps_reports_steps_alone() -> None:
    taken = Taken()
    trial = make_trial(taken, steps=1000)
    trial.report(step=200, val_loss=0.5)
    trial.report(step=1000, accuracy=0.5)
    assert [(one.step, one.epoch) for one in taken.evaluations] == [(200, 0.2), (1000, 1.0)]
    assert taken.rewound == (0.2, 200)
    with pytest.raises(UserError, match="step 1000 comes after step 1000"):
        trial.report(step=1000, val_loss=0.4)


def test_epochs_and_steps_are_both_taken_as_they_are_reported() -> None:
    taken = Taken()
    make_trial(taken, steps=1000).report(0.5, 0.5, step=400)
    make_trial(taken).report(0.5, 0.5, step=400)
    assert [(one.epoch, one.step) for one in taken.evaluations] == [(0.5, 400)] * 2


def test_a_report_without_progress_says_what_it_needs() -> None:
    with pytest.raises(UserError, match=r"give epoch.*or step="):
        make_trial(Taken()).report(val_loss=0.5)
    with pytest.raises(UserError, match=r"step 200 comes without an epoch.*train.steps"):
        make_trial(Taken()).report(step=200, val_loss=0.5)
    with pytest.raises(UserError, match=r"train.steps=1000 is the length.*step="):
        make_trial(Taken(), steps=1000).report(1, 0.5)


def test_the_share_that_is_reported_as_done() -> None:
    by_epoch, by_step = make_trial(Taken()), make_trial(Taken(), steps=1000)
    assert (by_epoch.progress, by_step.progress) == (0.0, 0.0)
    by_epoch.report(0.5, 0.5, step=900)
    by_step.report(0.5, 0.5, step=900)
    assert (by_epoch.progress, by_step.progress) == (0.25, 0.9)


def test_epochs_counted_from_zero_are_warned_of() -> None:
    taken = Taken()
    trial = make_trial(taken)
    optimizer, schedule = trial.recipe.build(torch.nn.Linear(2, 1), steps=10)
    trial.report(0, 0.9)  # before the training
    assert taken.warnings == []
    counted_from_zero = make_trial(taken)
    optimizer, schedule = counted_from_zero.recipe.build(torch.nn.Linear(2, 1), steps=10)
    optimizer.step()
    schedule.step()
    counted_from_zero.report(0, 0.9)
    assert "epoch 0 is reported after 1 step" in taken.warnings[0]


@pytest.mark.parametrize("steps", [None, 200])
def test_a_training_that_goes_on_beyond_its_configured_length_is_warned_of_once(
    steps: int | None,
) -> None:
    taken = Taken()
    trial = make_trial(taken, steps=steps)
    for epoch in (1, 2, 3, 4):
        trial.report(epoch, 0.5, step=100 * epoch)
    (warning,) = taken.warnings
    assert ("epoch 3" if steps is None else "step 300") in warning
    assert ("train.epochs=2" if steps is None else "train.steps=200") in warning


def test_the_configured_steps_are_the_length_of_what_is_built() -> None:
    _, schedule = make_trial(Taken(), steps=50).recipe.build(torch.nn.Linear(2, 1))
    assert schedule.total_steps == 50
    _, other = make_trial(Taken(), steps=50).recipe.build(torch.nn.Linear(2, 1), steps=20)
    assert other.total_steps == 20


def test_rates_are_the_recipes_as_far_as_is_known_where_it_has_built_the_schedule() -> None:
    taken = Taken()
    make_trial(taken).report(1, 0.5)
    trial = make_trial(taken)
    trial.recipe.build(torch.nn.Linear(2, 1), steps=10)
    trial.report(1, 0.5)
    assert [one.verified for one in taken.evaluations] == [False, True]


def test_the_time_since_the_report_before_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    taken = Taken()
    trial = make_trial(taken)
    for seconds in (5.0, 2.5):
        now[0] += seconds
        trial.report(len(taken.evaluations) + 1, 0.5)
    assert [evaluation.seconds for evaluation in taken.evaluations] == [5.0, 2.5]
