"""The rates of every step of a trial: those that its optimizer held."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from reports import Collected
from small_training import LENGTH, STEPS, small_task
from synthetic import RECORD, recipe, study_of, trial

from lrsearch.analysis.lr_curve import LrCurve, lr_curve, shares_of
from lrsearch.analysis.study_data import StudyData, TrialData
from lrsearch.evaluation import Evaluation
from lrsearch.objectives.folds import FoldedTraining
from lrsearch.objectives.trial import Trial
from lrsearch.parameters.durations import Length
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.schedules.families import SCHEDULERS
from lrsearch.settings import MetricSettings
from lrsearch.training.loop import Stopped, Training

TRAIN = {"epochs": STEPS / LENGTH.steps_per_epoch, "steps": None, "eval_every": "4st"}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Trainings this small only wait for further threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@dataclass
class Trained:
    """A training, with the rates of all parameter groups that it took each step with."""

    evaluations: list[Evaluation]
    recipe: Recipe
    held: list[tuple[float, ...]] = field(default_factory=list)


def watched(training: Training, held: list[tuple[float, ...]]) -> Training:
    def note(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        held.append(tuple(float(group["lr"]) for group in optimizer.param_groups))

    training.optimizer.register_step_pre_hook(note)
    return training


def trained(**changes: Any) -> Trained:
    held: list[tuple[float, ...]] = []
    training = watched(Training(small_task(**changes)), held)
    return Trained(list(training.evaluations()), training.task.recipe, held)


def a_study(train: dict[str, Any] = TRAIN, n_train: int = 100, **config: Any) -> StudyData:
    study = study_of([], record={**RECORD, "data": {**RECORD["data"], "n_train": n_train}})
    return dataclasses.replace(study, config={**study.config, "train": train, **config})


def a_trial(done: Trained, **more: Any) -> TrialData:
    made = trial(0, done.recipe, 1.0)
    return dataclasses.replace(made, curve=tuple(done.evaluations), **more)


def at_steps(curve: LrCurve, count: int, whole: int = STEPS) -> list[list[float]]:
    """The rate at the beginning of each of the first steps, by group."""
    rates = []
    for group in curve.groups:
        assert (np.diff(group.line_shares) >= 0).all()
        # At a cut the line has two rates: the second one is trained with.
        found = dict(zip(np.rint(group.line_shares * whole), group.line_rates, strict=True))
        rates.append([float(found[step]) for step in range(count)])
    return rates


@pytest.mark.parametrize("warmup", [0, "5st"])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_the_line_has_the_rates_that_the_optimizer_held(scheduler: str, warmup: Any) -> None:
    done = trained(scheduler=scheduler, warmup=warmup)
    curve = lr_curve(a_study(), a_trial(done))
    assert curve.doubt is None
    (rates,) = at_steps(curve, STEPS)
    assert rates == pytest.approx([held[0] for held in done.held], rel=1e-6, abs=1e-9)
    (group,) = curve.groups
    assert group.line_shares[[0, -1]].tolist() == [0.0, 1.0]
    assert group.line_rates[-1] == pytest.approx(done.evaluations[-1].lr_end[0], abs=1e-9)


@pytest.mark.parametrize("scheduler", ["cosine", "plateau"])
def test_each_parameter_group_has_a_line(scheduler: str) -> None:
    done = trained(scheduler=scheduler, groups=("no_decay", "head"))
    curve = lr_curve(a_study(), a_trial(done))
    names = [group.name for group in curve.groups]
    assert len(names) == 2
    for name, rates in zip(names, at_steps(curve, STEPS), strict=True):
        at = done.evaluations[0].groups.index(name.partition(",")[0])
        assert rates == pytest.approx([held[at] for held in done.held], rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("scheduler", ["cosine_restarts", "plateau"])
def test_a_training_that_was_resumed_has_one_line(scheduler: str) -> None:
    held: list[tuple[float, ...]] = []
    first = watched(Training(small_task(scheduler=scheduler)), held)
    first.task.should_stop = lambda: first.step == 10
    evaluations: list[Evaluation] = []
    with contextlib.suppress(Stopped):
        for evaluation in first.evaluations():
            evaluations.append(evaluation)
    assert first.step == 10
    second = watched(Training(small_task(scheduler=scheduler)), held)
    second.load_state_dict(first.state_dict())
    evaluations += second.evaluations()
    done = Trained(evaluations, second.task.recipe, held)
    (rates,) = at_steps(lr_curve(a_study(), a_trial(done)), STEPS)
    assert rates == pytest.approx([rates[0] for rates in held], rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("scheduler", ["cosine", "plateau"])
def test_the_line_of_a_pruned_trial_ends_where_it_was_pruned(scheduler: str) -> None:
    done = trained(scheduler=scheduler, warmup="5st")
    done.evaluations = done.evaluations[:2]
    (group,) = lr_curve(a_study(), a_trial(done, outcome="pruned")).groups
    assert group.line_shares[-1] == pytest.approx(8 / STEPS)
    assert group.line_rates[-1] == pytest.approx(done.evaluations[-1].lr_end[0])


def test_the_line_of_a_diverged_trial_ends_at_its_last_step() -> None:
    done = trained()
    at = {"outcome": "diverged", "end_step": 11, "end_lr": done.held[10][0]}
    for evaluations in (done.evaluations[:2], []):
        done.evaluations = evaluations
        (group,) = lr_curve(a_study(), a_trial(done, **at)).groups
        assert group.line_shares[-1] == pytest.approx(11 / STEPS)
        assert len(group.rates) == 2 * len(evaluations)


@pytest.mark.parametrize("scheduler", ["one_cycle", "plateau"])
def test_the_line_of_folds_begins_again_with_each_fold(scheduler: str) -> None:
    held: list[tuple[float, ...]] = []
    folded = FoldedTraining(
        lambda fold: watched(Training(small_task(scheduler=scheduler)), held), 3, MetricSettings()
    )
    done = Trained(list(folded.evaluations()), folded.task.recipe, held)
    study = a_study(data={"folds": 3})
    curve = lr_curve(study, a_trial(done))
    (rates,) = at_steps(curve, 3 * STEPS, 3 * STEPS)
    assert rates == pytest.approx([rates[0] for rates in held], rel=1e-6, abs=1e-9)
    assert shares_of(study, a_trial(done))[-1] == 1.0


@pytest.mark.parametrize("batch_size", [16, 32, 107])
def test_trials_of_all_batch_sizes_end_at_the_whole_training(batch_size: int) -> None:
    train = {"epochs": 3, "steps": None, "eval_every": None}
    used = recipe(batch_size=batch_size, warmup=0.1)
    length = Length.of(n_train=1078, batch_size=batch_size, epochs=3)
    rates = used.preview(length).rates
    per_epoch = length.steps_per_epoch
    curve = [
        Evaluation(
            index=k, epoch=float(k), step=k * per_epoch, values={}, value=1.0, grad_norm=None,
            lr_start=(rates[(k - 1) * per_epoch],), lr_end=(rates[k * per_epoch],), clipped=None,
            seconds=1.0,
        )
        for k in (1, 2, 3)
    ]  # fmt: skip
    study = a_study(train, n_train=1078)
    found = lr_curve(study, a_trial(Trained(curve, used)))
    (group,) = found.groups
    assert group.line_rates == pytest.approx(rates, abs=1e-9)
    assert shares_of(study, a_trial(Trained(curve, used))) == pytest.approx([1 / 3, 2 / 3, 1])


def test_steps_that_were_skipped_in_half_precision_delay_the_line() -> None:
    used = recipe(batch_size=16, warmup="5st")
    rates = used.preview(LENGTH).rates
    skipped = {1, 2, 13}
    position = [step - sum(one <= step for one in skipped) for step in range(STEPS + 1)]
    steps = [*range(4, STEPS, 4), STEPS]
    done = trained()
    evaluations = [
        dataclasses.replace(row, lr_start=(rates[position[before]],), lr_end=(rates[position[at]],))
        for row, before, at in zip(done.evaluations, [0, *steps], steps, strict=False)
    ]
    study = a_study({**TRAIN, "amp": "fp16"})
    given = a_trial(Trained(evaluations, used))
    curve = lr_curve(study, given)
    assert curve.doubt is None
    (drawn,) = at_steps(curve, STEPS)
    assert drawn == pytest.approx([rates[at] for at in position[:STEPS]], abs=1e-9)
    assert lr_curve(a_study(), given).doubt is not None


def test_other_rates_than_the_recipes_stand_alone() -> None:
    done = trained()
    done.evaluations[2] = dataclasses.replace(done.evaluations[2], lr_end=(0.03,))
    curve = lr_curve(a_study(), a_trial(done))
    assert curve.doubt is not None
    (group,) = curve.groups
    assert len(group.line_rates) == 0
    assert 0.03 in group.rates


def test_a_long_training_is_drawn_in_no_time_and_ends_where_it_ends() -> None:
    used = recipe(scheduler="step", arguments={"step_size": "300000st"})
    train = {"epochs": 1, "steps": 1_000_000, "eval_every": None}
    rates = used.rates(Length.of(steps=1_000_000))
    assert rates is not None
    curve = [
        Evaluation(
            index=1, epoch=1.0, step=1_000_000, values={}, value=1.0, grad_norm=None,
            lr_start=(rates[0],), lr_end=(rates[-1],), clipped=None, seconds=1.0,
        )
    ]  # fmt: skip
    (group,) = lr_curve(a_study(train), a_trial(Trained(curve, used))).groups
    assert len(group.line_rates) < 200_000
    assert group.line_shares[-1] == 1.0
    cut = int(np.flatnonzero(np.diff(group.line_rates))[0])
    assert group.line_shares[cut] == pytest.approx(0.3, abs=1e-4)


# Training loops of the user's own


def looped(
    used: Recipe, *, steps: int | None = None, told: bool = True, evaluated: bool = True
) -> Iterator[Evaluation]:
    """A loop of 4 epochs of 6 steps, which may tell its steps."""
    report = Collected()
    given = Trial(
        used, report, seed=0, device=torch.device("cpu"), epochs=4, steps=steps, checkpoint_dir=""
    )
    model = torch.nn.Linear(2, 1)
    optimizer, schedule = given.recipe.build(model, steps=24, epochs=4)
    for step in range(1, 25):
        optimizer.step()
        schedule.step()
        if step % 6 == 0:
            if evaluated:
                schedule.evaluated({"val_loss": 1.0})
            given.report(step / 6, 1.0, step=step if told or steps else None)
    return iter(report)


OWN: dict[str, Any] = {"objective": {"name": "mine.train"}}


@pytest.mark.parametrize("steps", [None, 24])
@pytest.mark.parametrize("scheduler", ["cosine", "one_cycle", "multistep"])
def test_a_loop_of_ones_own_that_tells_its_steps_has_a_line(
    scheduler: str, steps: int | None
) -> None:
    used = recipe(scheduler=scheduler, warmup=0.1)
    study = a_study({"epochs": 4, "steps": steps}, **OWN)
    done = Trained(list(looped(used, steps=steps)), used)
    (group,) = lr_curve(study, a_trial(done)).groups
    assert group.line_rates == pytest.approx(
        used.preview(Length.of(steps=24, epochs=4)).rates, abs=1e-9
    )


@pytest.mark.parametrize("scheduler", ["constant", "one_cycle", "cosine"])
def test_a_loop_that_tells_no_steps_has_the_line_of_its_recipe_by_shares(scheduler: str) -> None:
    used = recipe(scheduler=scheduler, warmup=0.25)
    study = a_study({"epochs": 4, "steps": None}, **OWN)
    found = lr_curve(study, a_trial(Trained(list(looped(used, told=False)), used)))
    assert (found.doubt, found.has_steps) == (None, False)
    (group,) = found.groups
    rates = used.preview(Length.of(steps=24, epochs=4)).rates
    drawn = np.interp(np.arange(6, 25) / 24, group.line_shares, group.line_rates)
    assert drawn == pytest.approx(rates[6:], rel=1e-3, abs=1e-6)


@pytest.mark.parametrize(
    ("used", "told"),
    [
        (recipe(warmup="6st"), False),
        (recipe(scheduler="plateau", arguments={"patience": "1ep"}), True),
    ],
)
def test_what_a_loop_of_ones_own_does_not_tell_is_not_drawn(used: Recipe, told: bool) -> None:
    study = a_study({"epochs": 4, "steps": None}, **OWN)
    found = lr_curve(study, a_trial(Trained(list(looped(used, told=told)), used)))
    assert found.doubt is not None
    (group,) = found.groups
    assert len(group.line_rates) == 0
    assert len(group.rates) == 8
    assert list(group.shares[1::2]) == [0.25, 0.5, 0.75, 1.0]


def test_rates_that_a_script_does_not_tell_are_not_the_recipes() -> None:
    # Of a script that reports no rates the peak is recorded throughout.
    used = recipe()
    curve = [dataclasses.replace(row, lr_end=(0.1,), lr_start=(0.1,)) for row in looped(used)]
    study = a_study({"epochs": 4, "steps": None}, **OWN)
    doubt = lr_curve(study, a_trial(Trained(curve, used))).doubt
    assert doubt is not None
    assert "reports none" in doubt


def test_a_schedule_of_ones_own_is_not_run_to_be_drawn() -> None:
    own = ComponentConfig.own_code("own_schedules.power", {"power": 2.0})
    done = trained(scheduler=own)
    found = lr_curve(a_study(), a_trial(done))
    assert found.doubt is not None
    assert "own code" in found.doubt
    assert len(found.groups[0].rates) == 2 * len(done.evaluations)


def test_a_trial_that_has_just_begun_has_no_rates() -> None:
    waiting = dataclasses.replace(trial(0, None, None), curve=(), outcome=None)
    assert lr_curve(a_study(), waiting).groups == ()
    begun = dataclasses.replace(trial(0, recipe(), None), curve=(), outcome=None)
    assert lr_curve(a_study(), begun).groups == ()
