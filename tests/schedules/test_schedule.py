"""A schedule is a scheduler of torch's, to whoever drives it: our loop, yours, or a framework's."""

from __future__ import annotations

import copy
import io
import pickle
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lrsearch.errors import UserError
from lrsearch.parameters.durations import Length
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.schedules.families import SCHEDULERS
from lrsearch.schedules.schedule import Schedule

LENGTH = Length(steps=40, steps_per_epoch=10, steps_per_evaluation=10)
LR = 0.8
WARMUPS = [0, "9st"]


@pytest.fixture(autouse=True)
def no_warning() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def recipe(name: str, warmup: float | str = 0, **parameters: Any) -> Recipe:
    if name == "plateau":
        parameters = {"patience": "1ep", "factor": 0.5} | parameters
    return Recipe(
        lr=LR,
        batch_size=8,
        optimizer=ComponentConfig("sgd"),
        scheduler=ComponentConfig(name, parameters),
        warmup=warmup,
    )


def sgd(*rates: float, **options: Any) -> torch.optim.SGD:
    groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": rate} for rate in rates]
    return torch.optim.SGD(groups, **options)


def start(name: str, warmup: float | str = 0) -> Schedule:
    return recipe(name, warmup).build_schedule(sgd(LR), LENGTH)


def advance(schedule: Schedule, to: int = LENGTH.steps) -> list[list[float]]:
    """The rates after each step up to a step; the loss never falls."""
    rates = []
    while schedule.last_epoch < to:
        schedule.optimizer.step()
        schedule.step()
        if schedule.last_epoch % LENGTH.steps_per_evaluation == 0:
            schedule.evaluated({"val_loss": 1.0})
        rates.append([float(rate) for rate in schedule.get_last_lr()])
    return rates


# What torch and the frameworks ask of a scheduler


@pytest.mark.parametrize("name", list(SCHEDULERS))
def test_it_is_a_scheduler_of_torch_that_steps_with_the_optimizer(name: str) -> None:
    """Trainers ask for the class, and step one that is no ReduceLROnPlateau after each step."""
    schedule = start(name)
    assert isinstance(schedule, LRScheduler)
    assert not isinstance(schedule, ReduceLROnPlateau)
    assert schedule.last_epoch == 0
    assert schedule.get_last_lr() == schedule.get_lr() == schedule.rates


@pytest.mark.parametrize("warmup", WARMUPS)
@pytest.mark.parametrize("name", list(SCHEDULERS))
def test_a_loop_that_only_steps_sees_the_rates_of_the_preview(
    name: str, warmup: float | str
) -> None:
    """As Hugging Face's Trainer: `step()` after each optimizer step, then `get_last_lr()`."""
    schedule = start(name, warmup)
    seen = [schedule.get_last_lr()[0]]
    for step in range(LENGTH.steps):
        schedule.optimizer.step()
        schedule.step()
        seen.append(schedule.get_last_lr()[0])
        assert schedule.last_epoch == step + 1
        assert seen[-1] == schedule.optimizer.param_groups[0]["lr"]
    if name != "plateau":
        assert seen == recipe(name, warmup).preview(LENGTH).rates


@pytest.mark.parametrize("value", [1.0, torch.tensor(1.0), {"val_loss": 1.0, "val_accuracy": 0.5}])
@pytest.mark.parametrize("name", list(SCHEDULERS))
def test_a_step_with_metrics_tells_them_and_does_not_advance(name: str, value: Any) -> None:
    """As Lightning does with a scheduler that is marked as one that reduces on a plateau."""
    schedule, other = start(name), start(name)
    for step in range(1, LENGTH.steps + 1):
        for one in (schedule, other):
            one.optimizer.step()
            one.step()
        if step % LENGTH.steps_per_evaluation == 0:
            schedule.step(value)
            other.evaluated({"val_loss": 1.0})
        assert schedule.last_epoch == step
        assert schedule.get_last_lr() == other.get_last_lr()
    assert name != "plateau" or schedule.get_last_lr()[0] < LR


class Prepared:
    """Steps a scheduler as Accelerate's `AcceleratedScheduler` does, once for each process."""

    def __init__(self, scheduler: LRScheduler, processes: int) -> None:
        self.scheduler, self.processes = scheduler, processes

    def step(self, *args: Any, **kwargs: Any) -> None:
        for _ in range(self.processes):
            if hasattr(self.scheduler, "total_steps"):
                if self.scheduler._step_count <= self.scheduler.total_steps:
                    self.scheduler.step(*args, **kwargs)
            else:
                self.scheduler.step(*args, **kwargs)


@pytest.mark.parametrize("processes", [1, 3])
def test_a_prepared_scheduler_ends_at_the_last_rate(processes: int) -> None:
    schedule = start("one_cycle", "9st")
    prepared = Prepared(schedule, processes)
    for _ in range(LENGTH.steps):
        schedule.optimizer.step()
        prepared.step()
    assert schedule.last_epoch == LENGTH.steps
    assert schedule.get_last_lr() == [recipe("one_cycle", "9st").preview(LENGTH).rates[-1]]


def test_a_step_before_the_optimizers_first_one_is_warned_of() -> None:
    with pytest.warns(UserWarning, match=r"before `optimizer.step\(\)`"):
        start("cosine").step()


# Resuming and copying


@pytest.mark.parametrize("name", list(SCHEDULERS))
@pytest.mark.parametrize("warmup", WARMUPS)
@pytest.mark.parametrize("cut", [0, 4, 9, 23, 40])
def test_a_saved_state_continues_exactly_and_can_be_loaded_again(
    name: str, warmup: float | str, cut: int
) -> None:
    whole = advance(start(name, warmup))
    schedule = start(name, warmup)
    advance(schedule, cut)
    file = io.BytesIO()
    torch.save(schedule.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    for _ in range(2):
        resumed = start(name, warmup)
        resumed.load_state_dict(state)
        assert resumed.get_last_lr() == schedule.get_last_lr()
        assert advance(resumed) == whole[cut:]


@pytest.mark.parametrize("name", list(SCHEDULERS))
@pytest.mark.parametrize("warmup", WARMUPS)
@pytest.mark.parametrize("cut", [0, 4, 23])
def test_a_copy_and_a_pickled_one_continue_exactly(
    name: str, warmup: float | str, cut: int
) -> None:
    schedule = start(name, warmup)
    advance(schedule, cut)
    copies = [copy.deepcopy(schedule), pickle.loads(pickle.dumps(schedule))]  # noqa: S301
    rest = advance(schedule)
    for one in copies:
        assert one.optimizer is not schedule.optimizer
        assert advance(one) == rest


@pytest.mark.parametrize("name", list(SCHEDULERS))
def test_a_state_taken_is_not_changed_by_what_comes_after(name: str) -> None:
    schedule = start(name, "9st")
    advance(schedule, 15)
    state = schedule.state_dict()
    kept = copy.deepcopy(state)
    advance(schedule)
    assert state == kept


# Beyond the end


@pytest.mark.parametrize("warmup", WARMUPS)
@pytest.mark.parametrize("name", list(SCHEDULERS))
def test_beyond_its_end_a_schedule_holds_its_last_rate_and_warns_once(
    name: str, warmup: float | str
) -> None:
    schedule = start(name, warmup)
    last = advance(schedule)[-1]
    with pytest.warns(UserWarning, match="built for 40 steps") as told:
        held = advance(schedule, LENGTH.steps + 25)
    assert len(told) == 1
    assert held == [last] * 25
    resumed = start(name, warmup)
    resumed.load_state_dict(schedule.state_dict())
    assert advance(resumed, LENGTH.steps + 30) == [last] * 5


# Several groups


@pytest.mark.parametrize("name", list(SCHEDULERS))
@pytest.mark.parametrize("warmup", WARMUPS)
def test_groups_keep_the_ratio_of_their_rates(name: str, warmup: float | str) -> None:
    """The first has the recipe's rate, whatever rate its optimizer was made with."""
    alone = advance(start(name, warmup))
    schedule = recipe(name, warmup).build_schedule(sgd(1e-5, 1e-3, 0.0), LENGTH)
    for (only,), (first, second, frozen) in zip(alone, advance(schedule), strict=True):
        assert first == only
        assert second == pytest.approx(100 * first)
        assert frozen == 0.0


@pytest.mark.parametrize("name", list(SCHEDULERS))
def test_a_second_schedule_on_an_optimizer_is_as_good_as_the_first(name: str) -> None:
    """The ratio comes from the rates before any schedule; a warm-up has the first at zero."""
    optimizer = sgd(1e-5, 1e-3)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: step / 10)
    rates = []
    for _ in range(3):
        schedule = recipe(name, "9st").build_schedule(optimizer, LENGTH)
        rates.append([first for first, _ in advance(schedule)])
        assert schedule.rates[1] == pytest.approx(100 * schedule.rates[0])
    assert rates[0] == rates[1] == rates[2]


@pytest.mark.parametrize("name", list(SCHEDULERS))
def test_the_share_that_timm_gives_a_group_counts(name: str) -> None:
    """timm's optimizers have one rate, and an `lr_scale` in each group with layer decay."""
    optimizer = sgd(1e-3, 1e-3, 1e-3)
    for group, scale in zip(optimizer.param_groups, (0.25, 0.5, 1.0), strict=True):
        group["lr_scale"] = scale
    alone = advance(start(name, "9st"))
    with pytest.warns(match="the first parameter group has the lr_scale 0.25"):
        schedule = recipe(name, "9st").build_schedule(optimizer, LENGTH)
    for (only,), rates in zip(alone, advance(schedule), strict=True):
        assert rates == pytest.approx([only, 2 * only, 4 * only])


@pytest.mark.parametrize("scales", [(1.0, 1.0), (0.25, 1.0)])
@pytest.mark.parametrize("cut", [4, 23])
@pytest.mark.parametrize("name", list(SCHEDULERS))
def test_groups_keep_their_ratio_after_a_resume(
    name: str, cut: int, scales: tuple[float, float]
) -> None:
    """Whether the optimizer's state is loaded before the schedule is built, or after."""

    def optimizer() -> torch.optim.SGD:
        built = sgd(1e-5, 1e-3)
        for group, scale in zip(built.param_groups, scales, strict=True):
            group["lr_scale"] = scale
        return built

    def build(optimizer: torch.optim.SGD) -> Schedule:
        with warnings.catch_warnings():  # that the first group has the smaller scale
            warnings.simplefilter("ignore")
            return recipe(name, "9st").build_schedule(optimizer, LENGTH)

    schedule = build(optimizer())
    advance(schedule, cut)
    states = copy.deepcopy((schedule.optimizer.state_dict(), schedule.state_dict()))
    rest = advance(schedule)

    before = optimizer()
    before.load_state_dict(states[0])
    resumed = build(before)
    resumed.load_state_dict(states[1])
    assert advance(resumed) == rest

    resumed = build(optimizer())
    resumed.load_state_dict(states[1])
    resumed.optimizer.load_state_dict(states[0])
    assert advance(resumed) == rest


def test_a_first_group_without_a_rate_is_refused() -> None:
    with pytest.raises(UserError, match=r"the rates \[0.0, 0.1\].* the first must not be 0"):
        recipe("cosine").build_schedule(sgd(0.0, 0.1), LENGTH)


@pytest.mark.parametrize("name", list(SCHEDULERS))
def test_a_rate_that_is_a_tensor_is_set_in_place(name: str) -> None:
    """A compiled optimizer step would not see another tensor."""
    rate = torch.tensor(LR)
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=rate, capturable=False)
    schedule = recipe(name, "9st").build_schedule(optimizer, LENGTH)
    kept = optimizer.param_groups[0]["lr"]
    assert advance(schedule) == [
        pytest.approx(rates, rel=1e-3, abs=1e-7) for rates in advance(start(name, "9st"))
    ]
    assert optimizer.param_groups[0]["lr"] is kept
