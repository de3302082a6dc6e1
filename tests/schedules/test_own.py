"""A scheduler of the user's own: a function of the progress, or a class of torch's kind."""

from __future__ import annotations

import copy
import io
import re
from collections.abc import Mapping
from typing import Any

import pytest
import torch

from lrsearch.errors import OwnCodeError, UserError
from lrsearch.parameters.durations import Length
from lrsearch.schedules.own import own_call
from lrsearch.schedules.plan import ScheduleInputs
from lrsearch.schedules.schedule import Schedule

LENGTH = Length(steps=40, steps_per_epoch=10, steps_per_evaluation=10)
LR = 0.8
RESTARTS = "torch.optim.lr_scheduler.CosineAnnealingWarmRestarts"
ALL: list[tuple[str, Mapping[str, Any], tuple[str, ...]]] = [
    ("own_schedules.power", {"power": 2.0}, ()),
    ("own_schedules.Halving", {"every": 0.25}, ("every",)),
    ("own_schedules.Impatient", {"patience": "1ep"}, ("patience",)),
    (RESTARTS, {"T_0": 0.25, "T_mult": 2}, ("T_0",)),
    (
        "torch.optim.lr_scheduler.OneCycleLR",
        {"max_lr": 0.5, "total_steps": 1.0},
        ("total_steps",),
    ),
]


def schedule(
    target: str,
    arguments: Mapping[str, Any] | None = None,
    durations: tuple[str, ...] = (),
    warmup: int = 0,
    length: Length = LENGTH,
) -> Schedule:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR, momentum=0.9)
    call = own_call(target, durations, ScheduleInputs(arguments or {}, LR, length, warmup))
    return Schedule(optimizer, call, lr=LR, total_steps=length.steps, warmup_steps=warmup)


def advance(schedule: Schedule, to: int = LENGTH.steps) -> list[float]:
    """The rates after each step up to a step; the loss never falls."""
    rates = []
    while schedule.last_epoch < to:
        schedule.optimizer.step()
        schedule.step()
        if schedule.last_epoch % LENGTH.steps_per_evaluation == 0:
            schedule.evaluated({"val_loss": 1.0})
        rates.append(schedule.rates[0])
    return rates


@pytest.mark.parametrize("warmup", [0, 10])
def test_a_function_is_given_the_progress_of_the_whole_training(warmup: int) -> None:
    mine = schedule("own_schedules.power", {"power": 2.0}, warmup=warmup)
    first = LR * (1 - warmup / 40) ** 2
    ramp = [first * (step + 1) / (warmup + 1) for step in range(warmup)]
    after = [LR * (1 - step / 40) ** 2 for step in range(warmup, 41)]
    assert [*mine.rates, *advance(mine)] == pytest.approx(ramp + after)


def test_a_factor_below_zero_counts_as_zero() -> None:
    rates = advance(schedule("own_schedules.below_zero"))
    assert rates[9] == pytest.approx(LR / 2)
    assert rates[19:] == [0.0] * 21


@pytest.mark.parametrize("warmup", [0, 10])
@pytest.mark.parametrize(("every", "steps"), [(0.25, 10), ("1ep", 10), ("7st", 7)])
def test_a_duration_of_a_class_becomes_steps(every: Any, steps: int, warmup: int) -> None:
    mine = schedule("own_schedules.Halving", {"every": every}, ("every",), warmup)
    assert advance(mine)[warmup:] == [LR * 0.5 ** (k // steps) for k in range(1, 41 - warmup)]


def test_what_is_no_duration_is_given_as_it_stands() -> None:
    mine = schedule("own_schedules.Halving", {"every": 20, "floor": 0.4})
    assert advance(mine)[38:] == [LR / 2, LR * 0.4]


@pytest.mark.parametrize(
    ("target", "arguments", "durations", "said"),
    [
        ("own_schedules.Halving", {"every": "2ep"}, (), "every: {value: 2ep, duration: true}"),
        ("own_schedules.Halving", {"every": "500st"}, (), "looks like a duration"),
        ("own_schedules.power", {"power": 0.3}, ("power",), "has no durations"),
    ],
)
def test_a_duration_is_marked_where_it_is_one(
    target: str, arguments: dict[str, Any], durations: tuple[str, ...], said: str
) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        schedule(target, arguments, durations)


def test_a_class_of_torchs_by_its_path_is_the_same_as_torchs() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR)
    torchs = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=10, T_mult=2)
    expected = []
    for _ in range(LENGTH.steps):
        optimizer.step()
        torchs.step()
        expected.append(torchs.get_last_lr()[0])
    assert advance(schedule(RESTARTS, {"T_0": "1ep", "T_mult": 2}, ("T_0",))) == expected


def test_a_subclass_of_reduce_on_plateau_is_shown_the_validation_loss() -> None:
    mine = schedule("own_schedules.Impatient", {"patience": "1ep"}, ("patience",))
    assert [advance(mine, to)[-1] for to in (10, 20, 30, 40)] == [LR, LR, LR / 2, LR / 2]


@pytest.mark.parametrize(("target", "arguments", "durations"), ALL)
@pytest.mark.parametrize("warmup", [0, 9])
@pytest.mark.parametrize("cut", [0, 4, 23])
def test_it_resumes_and_copies_exactly(
    target: str, arguments: Mapping[str, Any], durations: tuple[str, ...], warmup: int, cut: int
) -> None:
    mine = schedule(target, arguments, durations, warmup)
    advance(mine, cut)
    file = io.BytesIO()
    torch.save(mine.state_dict(), file)
    file.seek(0)
    resumed = schedule(target, arguments, durations, warmup)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    copied = copy.deepcopy(mine)
    rest = advance(mine)
    assert advance(resumed) == rest
    assert advance(copied) == rest


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("own_schedules.Halved", "'Halved' is unknown; did you mean Halving?"),
        ("own_schedules.NoScheduler", "not a subclass of torch.optim.lr_scheduler.LRScheduler"),
        ("own_schedules.Unsavable", r"could not be resumed: its state_dict\(\) must hold plain"),
        ("own_schedules.no_number", "must return a number"),
        ("own_schedules.Sinking", r"sets the rate -0\.\d+ at step 6: it must be 0 or more"),
    ],
)
def test_what_is_no_schedule_is_refused_in_words(target: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        advance(schedule(target))


def test_an_error_of_the_users_code_has_its_traceback() -> None:
    with pytest.raises(OwnCodeError, match=r"own_schedules.raises failed: ZeroDivisionError"):
        advance(schedule("own_schedules.raises"))
