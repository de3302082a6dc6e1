"""Training loops that follow the recipe's rates, and those that do not, as the guard sees them."""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reports import Collected

from lrsearch.cli.compose import load_settings
from lrsearch.errors import UserError
from lrsearch.objectives.trial import Trial
from lrsearch.parameters.durations import Length
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.schedules.families import SCHEDULERS
from lrsearch.schedules.schedule import Schedule
from lrsearch.space.domains import Domain
from lrsearch.space.space import Space

LINEAR = Recipe(1.0, 8, ComponentConfig("sgd"), ComponentConfig("linear", {"final": 0.0}))
"""Its rate at a share of the training is one less that share."""
EPOCHS, PER_EPOCH = 5, 20
STEPS = EPOCHS * PER_EPOCH


class Warned(Collected):
    """Collects evaluations and warnings."""

    def __init__(self) -> None:
        super().__init__()
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def step_once(schedule: Schedule, step: int) -> None:
    schedule.step()


@dataclass
class Loop:
    """A training loop of the user's own, of EPOCHS epochs; a test changes what it does wrong."""

    recipe: Recipe = LINEAR
    steps: int = STEPS
    """Steps for which the schedule is built."""
    step: Callable[[Schedule, int], None] = step_once
    """What it does after each optimizer step, counted from 1."""
    spoil: Callable[[torch.optim.Optimizer, int], None] = lambda optimizer, step: None
    """What somebody else does then."""
    evaluated: bool = True
    epochs: int = EPOCHS
    """Epochs after which it ends."""
    report: Callable[[Trial, int, Schedule], None] = lambda trial, epoch, schedule: trial.report(
        epoch, 1.0 / epoch
    )
    model: torch.nn.Module = field(default_factory=lambda: torch.nn.Linear(2, 1))
    strict: bool = False

    def run(self) -> list[str]:
        """The warnings."""
        warned = Warned()
        trial = self.trial(warned)
        optimizer, schedule = trial.recipe.build(self.model, steps=self.steps)
        self.train(trial, optimizer, schedule, 1, self.epochs)
        trial.returned()
        return warned.warnings

    def trial(self, warned: Warned) -> Trial:
        return Trial(
            self.recipe, warned, seed=0, device=torch.device("cpu"), epochs=EPOCHS,
            checkpoint_dir="unused", strict_lr=self.strict,
        )  # fmt: skip

    def train(
        self,
        trial: Trial,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        first: int,
        last: int,
    ) -> None:
        for epoch in range(first, last + 1):
            for step in range((epoch - 1) * PER_EPOCH + 1, epoch * PER_EPOCH + 1):
                optimizer.step()
                self.step(schedule, step)
                self.spoil(optimizer, step)
            self.report(trial, epoch, schedule)
            if self.evaluated:
                schedule.evaluated({"val_loss": 1.0 / epoch, "train_loss": 1.0 / epoch})


# Loops that follow the recipe


FORMULAS: dict[str, dict[str, Any]] = {
    "lambda": {"formula": "0.5 ** epoch"},
    "multiplicative": {"factor": "0.9", "every": 0.07},
    "piecewise": {"points": [[0, 0.1], [0.3, 1.0], [1.0, 0.01]]},
}
"""Families that no space searches by default."""


@cache
def space() -> Space:
    return load_settings(["+sweep=digits", "space.scheduler.only=null"]).space


@st.composite
def recipes(draw: st.DrawFn, family: str) -> Recipe:
    """A recipe of the default space."""
    rng = random.Random(draw(st.integers(0, 2**32)))

    def choose(name: str, domain: Domain) -> Any:
        searched = "constant" if family in FORMULAS else family
        return searched if name == "scheduler" else domain.sample(rng)

    recipe = space().recipe(choose)
    if family not in FORMULAS:
        return recipe
    return dataclasses.replace(recipe, scheduler=ComponentConfig(family, FORMULAS[family]))


@pytest.mark.parametrize("family", sorted(SCHEDULERS))
@settings(max_examples=3, deadline=None)
@given(data=st.data())
def test_a_loop_that_follows_the_recipe_is_never_warned_of(
    family: str, data: st.DataObject
) -> None:
    recipe = data.draw(recipes(family))
    assert Loop(recipe).run() == []


@pytest.mark.parametrize("family", sorted(SCHEDULERS))
@settings(max_examples=3, deadline=None)
@given(data=st.data(), ended=st.integers(1, EPOCHS - 1))
def test_a_resumed_training_is_not_warned_of(family: str, data: st.DataObject, ended: int) -> None:
    loop = Loop(data.draw(recipes(family)))
    warned = Warned()
    trial = loop.trial(warned)
    optimizer, schedule = trial.recipe.build(loop.model, steps=STEPS)
    loop.train(trial, optimizer, schedule, 1, ended)
    state = optimizer.state_dict(), schedule.state_dict()
    trial = loop.trial(warned)
    optimizer, schedule = trial.recipe.build(loop.model, steps=STEPS)
    optimizer.load_state_dict(state[0])
    schedule.load_state_dict(state[1])
    loop.train(trial, optimizer, schedule, ended + 1, EPOCHS)
    trial.returned()
    assert warned.warnings == []


def tensor_rates(optimizer: torch.optim.Optimizer) -> None:
    for group in optimizer.param_groups:
        group["lr"] = torch.tensor(float(group["lr"]), dtype=torch.float32)


@pytest.mark.parametrize("family", sorted(SCHEDULERS))
@settings(max_examples=3, deadline=None)
@given(data=st.data())
def test_rates_of_several_groups_in_float32_are_not_warned_of(
    family: str, data: st.DataObject
) -> None:
    recipe, warned = data.draw(recipes(family)), Warned()
    loop = Loop(recipe)
    trial = loop.trial(warned)
    weights = [torch.nn.Parameter(torch.zeros(2)) for _ in range(2)]
    optimizer = torch.optim.AdamW(
        [{"params": weights[:1], "lr": 0.1}, {"params": weights[1:], "lr": 0.001}]
    )
    tensor_rates(optimizer)
    schedule = trial.recipe.build_schedule(optimizer, Length.of(steps=STEPS, epochs=EPOCHS))
    loop.train(trial, optimizer, schedule, 1, EPOCHS)
    trial.returned()
    assert warned.warnings == []


def reported_before(schedule: Schedule, step: int) -> None:
    """Keeps the rate of the step that was taken, as loops that log it do."""
    schedule.taken = schedule.rates[0]  # type: ignore[attr-defined]
    schedule.step()


FINE: dict[str, Loop] = {
    "accumulates": Loop(),  # optimizer steps alone count, however many batches each has
    "reports the rate of the step taken": Loop(
        step=reported_before,
        report=lambda trial, epoch, schedule: trial.report(epoch, 0.5, lr=schedule.taken),  # type: ignore[attr-defined]
    ),
    "hands the optimizer over": Loop(
        report=lambda trial, epoch, schedule: trial.report(
            epoch, 0.5, optimizer=schedule.optimizer, step=PER_EPOCH * epoch
        )
    ),
    "stops early": Loop(epochs=3),
    "counts steps in batches": Loop(
        report=lambda trial, epoch, schedule: trial.report(epoch, 0.5, step=4 * PER_EPOCH * epoch)
    ),
    "is one step longer": Loop(steps=STEPS - 1),
    "is one step shorter": Loop(steps=STEPS + 1),
    "a constant rate without any step": Loop(
        Recipe(1.0, 8, ComponentConfig("sgd"), ComponentConfig("constant")),
        step=lambda schedule, step: None,
    ),
    "a constant rate of any length": Loop(
        Recipe(1.0, 8, ComponentConfig("sgd"), ComponentConfig("constant")), steps=30
    ),
    "a plateau without any step": Loop(
        Recipe(1.0, 8, ComponentConfig("sgd"), ComponentConfig("plateau")),
        step=lambda schedule, step: None,
    ),
}


@pytest.mark.filterwarnings("ignore:the schedule was built for")
@pytest.mark.parametrize("case", sorted(FINE))
def test_what_changes_no_rate_is_not_warned_of(case: str) -> None:
    assert FINE[case].run() == []


def test_steps_that_a_gradient_scaler_skips_are_not_warned_of() -> None:
    class Scaled(torch.optim.Optimizer):
        """Called for steps that are skipped, too, as fused optimizers are."""

        found_inf = torch.zeros(1)

        def step(self, closure: Any = None) -> None:
            """Skip it."""

    ramp = Recipe(1.0, 8, ComponentConfig("sgd"), ComponentConfig("linear"), warmup=0.5)
    for skipped in (0, 1, 8, 16):
        warned = Warned()
        loop = Loop(ramp)
        trial = loop.trial(warned)
        optimizer = Scaled(loop.model.parameters(), {"lr": 0.1})
        schedule = trial.recipe.build_schedule(optimizer, Length.of(steps=STEPS, epochs=EPOCHS))
        loop.step = lambda schedule, step, first=skipped: schedule.step() if step > first else None
        loop.train(trial, optimizer, schedule, 1, EPOCHS - 1)
        assert warned.warnings == []


def test_steps_that_the_loop_skips_with_the_scaler_are_not_warned_of() -> None:
    """The scaler does not call the optimizer, and the schedule is stepped nevertheless."""
    warned = Warned()
    loop = Loop()
    trial = loop.trial(warned)
    optimizer, schedule = trial.recipe.build(loop.model, steps=STEPS)
    for epoch in range(1, EPOCHS + 1):
        for step in range(PER_EPOCH):
            if epoch > 1 or step >= 12:
                optimizer.step()
            schedule.step()
        trial.report(epoch, 0.5)
    trial.returned()
    assert warned.warnings == []


def test_one_step_of_the_schedule_for_each_process_is_not_warned_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    assert Loop(steps=2 * STEPS, step=twice).run() == []


# Loops that do not


def twice(schedule: Schedule, step: int) -> None:
    schedule.step()
    schedule.step()


def each_epoch(schedule: Schedule, step: int) -> None:
    if step % PER_EPOCH == 0:
        schedule.step()


def each_batch(schedule: Schedule, step: int) -> None:
    for _ in range(4):
        schedule.step()


def on_top(optimizer: torch.optim.Optimizer, step: int) -> None:
    """A scheduler of a framework, which knows its own peak."""
    for group in optimizer.param_groups:
        group["lr"] = 0.3 * (1 - step / STEPS)


def head_alone(optimizer: torch.optim.Optimizer, step: int) -> None:
    optimizer.param_groups[0]["lr"] *= 1.0
    optimizer.param_groups[-1]["lr"] = 0.5


WRONG: dict[str, tuple[Loop, str, float, float]] = {
    "never stepped": (
        Loop(step=lambda schedule, step: None), "not once in 20 optimizer steps", 1.0, 0.8,
    ),
    "stepped twice": (Loop(step=twice), "twice for each of 20 optimizer steps", 0.6, 0.8),
    "stepped with each of four batches": (
        Loop(step=each_batch), "4 times for each of 20 optimizer steps", 0.2, 0.8,
    ),
    "stepped once an epoch": (Loop(step=each_epoch), "1 time in 20 optimizer steps", 0.99, 0.8),
    "a scheduler on top": (Loop(spoil=on_top), "something else sets the rates", 0.24, 0.8),
    "a wrong rate is reported": (
        Loop(report=lambda trial, epoch, schedule: trial.report(epoch, 0.5, lr=0.05)),
        "something else sets the rates", 0.05, 0.8,
    ),
    "another optimizer trains": (
        Loop(report=lambda trial, epoch, schedule: trial.report(
            epoch, 0.5, optimizer=torch.optim.SGD([torch.zeros(1)], 0.25))),
        "something else sets the rates", 0.25, 0.8,
    ),
    "the schedule ends at 60 %": (
        Loop(steps=60), "the schedule ended after 75 % of it", 0.0, 0.25,
    ),
    "the training ends at 60 %": (
        Loop(steps=round(STEPS / 0.6)),
        "ended after 60 % of its schedule, at step 100 of 167", 0.4012, 0.0,
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:the schedule was built for")
@pytest.mark.parametrize("case", sorted(WRONG))
def test_what_trains_other_rates_is_told_once_with_both_numbers(case: str) -> None:
    loop, words, held, expected = WRONG[case]
    (warning,) = loop.run()
    assert words in warning
    numbers = re.findall(r"(?:rate|says|with) (\d[\d.e-]*\d|\d)\b", warning)
    assert [float(one) for one in numbers] == pytest.approx([held, expected], rel=1e-3)


@pytest.mark.filterwarnings("ignore:the schedule was built for")
@pytest.mark.parametrize("case", sorted(WRONG))
def test_strictly_it_is_an_error_that_ends_the_trial(case: str) -> None:
    loop, words, _, _ = WRONG[case]
    loop.strict = True
    try:
        with pytest.raises(UserError, match=rf"objective\.strict_lr: .*{re.escape(words)}"):
            loop.run()
    finally:
        loop.strict = False


def test_a_training_that_resumes_without_its_schedule_is_told() -> None:
    warned = Warned()
    loop = Loop()
    trial = loop.trial(warned)
    optimizer, schedule = trial.recipe.build(loop.model, steps=STEPS)
    loop.train(trial, optimizer, schedule, 3, EPOCHS)
    trial.returned()
    (warning,) = warned.warnings
    assert "ended after 60 % of its schedule, at step 60 of 100" in warning


def test_a_group_whose_rate_is_not_the_recipes_is_named() -> None:
    warned = Warned()
    loop = Loop(spoil=head_alone)
    trial = loop.trial(warned)
    weights = [torch.nn.Parameter(torch.zeros(2)) for _ in range(2)]
    groups = [{"params": weights[:1], "lr": 0.1}, {"params": weights[1:], "lr": 0.001}]
    optimizer = torch.optim.SGD(groups)
    schedule = trial.recipe.build_schedule(optimizer, Length.of(steps=STEPS))
    loop.train(trial, optimizer, schedule, 1, EPOCHS)
    (warning,) = warned.warnings
    assert "0.5 in parameter group 1" in warning
    assert "says 0.008" in warning


PLATEAU = Recipe(1.0, 8, ComponentConfig("sgd"), ComponentConfig("plateau", {"patience": 0.2}))


def test_a_plateau_that_is_given_no_evaluation_is_told() -> None:
    (warning,) = Loop(PLATEAU, evaluated=False).run()
    assert 'schedule.evaluated({"val_loss": ...})' in warning


def test_a_plateau_whose_rate_is_set_by_something_else_is_told() -> None:
    (warning,) = Loop(PLATEAU, spoil=on_top).run()
    assert "something else sets the rates" in warning


def test_where_no_torch_optimizer_takes_the_steps_their_reported_number_counts() -> None:
    loop = Loop(
        step=lambda schedule, step: None,
        report=lambda trial, epoch, schedule: trial.report(epoch, 0.5, step=PER_EPOCH * epoch),
    )
    warned = Warned()
    trial = loop.trial(warned)
    _, schedule = trial.recipe.build(loop.model, steps=STEPS)
    engine = torch.optim.SGD([torch.zeros(1)], 1.0)  # such as DeepSpeed's
    loop.train(trial, engine, schedule, 1, EPOCHS)
    assert "not once in 20 optimizer steps" in warned.warnings[0]


# Loops that build no schedule from the recipe


def without_schedule(
    rates: Callable[[float], float], recipe: Recipe = LINEAR, steps: bool = False
) -> tuple[list[str], bool]:
    """The warnings of a loop that reports `rates(share)`, and whether it is verified."""
    warned = Warned()
    trial = Loop(recipe).trial(warned)
    for epoch in range(1, EPOCHS + 1):
        step = {"step": PER_EPOCH * epoch} if steps else {}
        trial.report(epoch, 0.5, lr=rates(epoch / EPOCHS), **step)
    trial.returned()
    return warned.warnings, trial.guard.verified


@pytest.mark.parametrize("steps", [True, False])
@pytest.mark.parametrize("family", sorted(SCHEDULERS))
@settings(max_examples=2, deadline=None)
@given(data=st.data())
def test_a_loop_with_the_recipes_rates_from_elsewhere_is_verified(
    family: str, steps: bool, data: st.DataObject
) -> None:
    recipe = data.draw(recipes(family))
    rates = recipe.preview(Length(STEPS, PER_EPOCH, PER_EPOCH)).rates
    warnings, verified = without_schedule(lambda share: rates[round(share * STEPS)], recipe, steps)
    assert warnings == []
    assert verified


def test_a_cut_at_the_very_end_is_no_difference() -> None:
    """With few steps it is the last one; in exact shares it would be beyond the end."""
    step = ComponentConfig("step", {"step_size": 0.4698, "gamma": 0.5})
    recipe = Recipe(0.1, 32, ComponentConfig("sgd"), step, warmup=0.0612)
    rates = recipe.preview(Length(STEPS, PER_EPOCH, PER_EPOCH)).rates
    assert rates[-1] == pytest.approx(0.1 * 0.5**2)
    warnings, verified = without_schedule(
        lambda share: rates[round(share * STEPS)], recipe, steps=False
    )
    assert warnings == []
    assert verified


@pytest.mark.parametrize("steps", [True, False])
def test_a_loop_with_a_schedule_of_its_own_is_told(steps: bool) -> None:
    (warning,), verified = without_schedule(lambda share: 1.0, steps=steps)
    assert "the learning rate is 1 at 20 % of the training, and the recipe says 0.8" in warning
    assert not verified


def test_rates_of_which_nothing_is_known_are_neither_told_nor_verified() -> None:
    warned = Warned()
    trial = Loop().trial(warned)
    trial.report(1, 0.5)
    assert warned.warnings == []
    assert not trial.guard.verified
    in_steps = Recipe(
        1.0, 8, ComponentConfig("sgd"), ComponentConfig("step", {"step_size": "30st"})
    )
    assert without_schedule(lambda share: 1.0, in_steps) == ([], False)
    (warning,), _ = without_schedule(lambda share: 1.0, in_steps, steps=True)
    assert "says 0.1" in warning


def test_a_preview_in_the_training_is_not_its_schedule() -> None:
    warned = Warned()
    loop = Loop()
    trial = loop.trial(warned)
    optimizer, schedule = trial.recipe.build(loop.model, steps=STEPS)
    trial.recipe.preview(Length.of(steps=7, epochs=1))
    loop.train(trial, optimizer, schedule, 1, EPOCHS)
    assert warned.warnings == []
