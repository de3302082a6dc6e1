"""Every scheduler family as a table: parameters, steps, expected rates.

The expected values come from the formulas in torch's documentation, not from running it. The
training is 100 steps long, 10 an epoch, evaluated each epoch; the peak rate is 0.8.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from lrsearch.errors import UserError
from lrsearch.parameters.durations import Length
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.schedules.families import SCHEDULERS
from lrsearch.schedules.schedule import Schedule

LENGTH = Length(steps=100, steps_per_epoch=10, steps_per_evaluation=10)
LR = 0.8


def recipe(name: str, warmup: float | str = 0, **parameters: Any) -> Recipe:
    return Recipe(
        lr=LR,
        batch_size=8,
        optimizer=ComponentConfig("sgd"),
        scheduler=ComponentConfig(name, parameters),
        warmup=warmup,
    )


def cosine(t: float, total: float, low: float = 0.0) -> float:
    return low + (LR - low) * (1 + math.cos(math.pi * t / total)) / 2


def one_cycle(t: float) -> float:
    low, lowest = LR / 10, LR / 10 / 100
    if t <= 40:
        return low + (LR - low) * (1 - math.cos(math.pi * t / 40)) / 2
    return lowest + (LR - lowest) * (1 + math.cos(math.pi * (t - 40) / 60)) / 2


CASES: list[tuple[str, dict[str, Any], dict[int, float]]] = [
    ("constant", {}, {0: LR, 1: LR, 99: LR, 100: LR}),
    ("step", {"step_size": 0.3, "gamma": 0.1}, {0: LR, 29: LR, 30: 0.08, 60: 0.008, 100: 8e-4}),
    ("step", {"step_size": "2ep", "gamma": 0.5}, {19: LR, 20: 0.4, 40: 0.2, 100: LR / 32}),
    ("step", {"step_size": "7st", "gamma": 0.5}, {6: LR, 7: 0.4, 14: 0.2}),
    (
        "multistep",
        {"milestones": [0.5, "75st"], "gamma": 0.1},
        {49: LR, 50: 0.08, 74: 0.08, 75: 0.008, 100: 0.008},
    ),
    (
        "exponential",
        {"gamma": 0.5, "every": "1ep"},
        {0: LR, 5: LR * 0.5**0.5, 10: 0.4, 20: 0.2, 100: LR * 0.5**10},
    ),
    ("exponential", {"gamma": 0.5, "every": 0.5}, {25: LR * 0.5**0.5, 50: 0.4, 100: 0.2}),
    ("cosine", {}, {0: LR, 25: cosine(25, 100), 50: 0.4, 100: 0.0}),
    ("cosine", {"final": 0.1}, {0: LR, 50: cosine(50, 100, 0.08), 100: 0.08}),
    (
        "cosine_restarts",
        {"T_0": 0.2, "T_mult": 2, "final": 0.0},
        {0: LR, 10: 0.4, 20: LR, 40: 0.4, 59: cosine(39, 40), 60: LR, 100: cosine(40, 80)},
    ),
    ("linear", {"final": 0.25}, {0: LR, 50: LR * 0.625, 100: 0.2}),
    ("polynomial", {"power": 2.0}, {0: LR, 50: LR * 0.25, 90: LR * 0.01, 100: 0.0}),
    ("lambda", {"formula": "0.5 ** epoch"}, {0: LR, 9: LR, 10: 0.4, 100: LR * 0.5**10}),
    ("lambda", {"formula": "1 - 2 * progress"}, {0: LR, 25: 0.4, 50: 0.0, 80: 0.0}),
    ("multiplicative", {"factor": "0.5", "every": "2ep"}, {19: LR, 20: 0.4, 40: 0.2, 100: LR / 32}),
    (
        "multiplicative",
        {"factor": "0.5 if epoch < 3 else 1"},
        {10: 0.4, 20: 0.2, 30: 0.2, 100: 0.2},
    ),
    (
        "cyclic",
        {"base": 0.25, "step_size_up": 0.1, "step_size_down": 0.2, "mode": "triangular"},
        {0: 0.2, 5: 0.5, 10: LR, 20: 0.5, 30: 0.2, 40: LR, 100: LR},
    ),
    (
        "cyclic",
        {"base": 0.25, "step_size_up": 0.1, "step_size_down": 0.1, "mode": "triangular2"},
        {0: 0.2, 10: LR, 20: 0.2, 30: 0.5, 50: 0.35},
    ),
    (
        "cyclic",
        {
            "base": 0.25,
            "step_size_up": 0.1,
            "step_size_down": 0.1,
            "mode": "exp_range",
            "gamma": 0.25,
        },
        {0: 0.2, 10: 0.2 + 0.6 * 0.25**0.5, 20: 0.2, 30: 0.2 + 0.6 * 0.25**1.5},
    ),
    (
        "one_cycle",
        {"pct_start": 0.4, "div_factor": 10.0, "final_div_factor": 100.0},
        {0: 0.08, 20: one_cycle(20), 70: one_cycle(70), 100: 8e-4},
    ),
    (
        "one_cycle",
        {
            "pct_start": 0.4,
            "div_factor": 10.0,
            "final_div_factor": 100.0,
            "anneal_strategy": "linear",
        },
        {0: 0.08, 100: 8e-4},
    ),
    ("wsd", {"decay": 0.2}, {0: LR, 80: LR, 90: 0.4, 100: 0.0}),
    ("wsd", {"decay": 0.2, "shape": "cosine", "final": 0.1}, {80: LR, 90: LR * 0.55, 100: 0.08}),
    ("wsd", {"decay": 0.4, "shape": "sqrt"}, {60: LR, 70: LR * 0.5, 100: 0.0}),
    ("inverse_sqrt", {"timescale": 0.1}, {0: LR, 10: LR / 2**0.5, 30: LR / 2, 100: LR / 11**0.5}),
    (
        "piecewise",
        {"points": [[0, 0.5], [0.2, 1.0], ["60st", 1.0], [1, 0.0]]},
        {0: 0.4, 10: 0.6, 20: LR, 59: LR, 80: 0.4, 100: 0.0},
    ),
    ("piecewise", {"points": [[0.5, 1.0]]}, {0: LR, 100: LR}),
    (  # a jump
        "piecewise",
        {"points": [[0, 1.0], [0.5, 1.0], [0.5, 0.1], [1, 0.1]]},
        {0: LR, 25: LR, 49: LR, 50: 0.08, 51: 0.08, 100: 0.08},
    ),
    (  # a jump upwards, at points that only round to one step
        "piecewise",
        {"points": [[0, 0.1], [0.301, 0.1], ["30st", 1.0], [1, 1.0]]},
        {0: 0.08, 29: 0.08, 30: LR, 100: LR},
    ),
]


@pytest.mark.parametrize(("name", "parameters", "expected"), CASES)
def test_rates(name: str, parameters: dict[str, Any], expected: dict[int, float]) -> None:
    rates = recipe(name, **parameters).preview(LENGTH).rates
    assert len(rates) == LENGTH.steps + 1
    found = {step: rates[step] for step in expected}
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", [name for name in SCHEDULERS if name != "plateau"])
def test_the_peak_of_a_curve_is_the_rate(name: str) -> None:
    assert max(recipe(name).preview(LENGTH).rates) == pytest.approx(LR, rel=2e-3)


def test_one_cycle_peaks_where_pct_start_says() -> None:
    rates = recipe("one_cycle", pct_start=0.4).preview(LENGTH).rates
    assert rates.index(max(rates)) == 40


# Warm-up


@pytest.mark.parametrize("name", [name for name in SCHEDULERS if name != "plateau"])
def test_warm_up_ramps_to_the_first_rate_and_then_the_schedule_runs_its_course(name: str) -> None:
    plain = recipe(name).preview(LENGTH).rates
    warm = recipe(name, warmup="20st").preview(LENGTH).rates
    first = warm[20]
    ramp = [first * (step + 1) / 21 for step in range(20)]
    assert warm[:20] == pytest.approx(ramp)
    if name != "piecewise":
        assert first == pytest.approx(plain[0]) or name == "lambda"
    assert max(warm) <= LR * (1 + 1e-9)


@pytest.mark.parametrize("name", ["cosine", "linear", "polynomial", "wsd"])
def test_after_a_warm_up_the_end_is_still_the_end(name: str) -> None:
    assert recipe(name, warmup=0.3).preview(LENGTH).rates[-1] == pytest.approx(0.0, abs=1e-9)


def test_milestones_and_points_are_counted_from_the_start_of_training() -> None:
    rates = recipe("multistep", warmup=0.2, milestones=[0.5], gamma=0.1).preview(LENGTH).rates
    assert (rates[49], rates[50]) == pytest.approx((LR, 0.08))


# Plateau


def test_a_plateau_cuts_after_patience_evaluations_without_improvement() -> None:
    losses = [1.0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9]
    preview = recipe("plateau", patience="2ep", factor=0.5).preview(LENGTH, losses)
    # Better at evaluation 2; bad ones are 3, 4, 5: the third is one more than patience.
    assert [preview.rates[step] for step in (0, 20, 49, 50, 79, 80)] == [
        LR, LR, LR, 0.4, 0.4, 0.2,
    ]  # fmt: skip


def test_a_plateau_in_max_mode_watches_for_a_rise() -> None:
    rising = [0.1 * k for k in range(10)]
    schedule = recipe("plateau", patience="1ep", mode="max", monitor="val_accuracy")
    assert schedule.preview(LENGTH, rising).rates[-1] == LR
    assert schedule.preview(LENGTH, rising[::-1]).rates[-1] < LR


def test_points_inside_the_warm_up_count_as_at_its_end_and_the_last_one_holds() -> None:
    points = [[0, 1.0], [0.1, 0.2], [0.2, 0.5], [1, 0.5]]
    rates = recipe("piecewise", warmup="20st", points=points).preview(LENGTH).rates
    assert rates[:20] == pytest.approx([LR / 2 * (step + 1) / 21 for step in range(20)])
    assert rates[20:] == pytest.approx([LR / 2] * 81)


@pytest.mark.parametrize(
    ("monitor", "mode"), [("val_loss", "min"), ("val_accuracy", "max"), ("val_mae", "min")]
)
def test_a_plateau_watches_for_what_is_better_of_its_metric(monitor: str, mode: str) -> None:
    call, _ = recipe("plateau", monitor=monitor).call(LENGTH)
    assert call.arguments["mode"] == mode


def test_a_plateau_must_be_told_what_is_better_of_a_metric_whose_name_does_not_say() -> None:
    with pytest.raises(UserError, match="val_f1 does not say whether more of it is better"):
        recipe("plateau", monitor="val_f1").preview(LENGTH)
    assert recipe("plateau", monitor="val_f1", mode="max").preview(LENGTH).rates[0] == LR


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("level", [1.0, -1.0])
def test_a_gain_is_by_the_threshold_times_the_size_of_the_best(mode: str, level: float) -> None:
    """With a threshold of 0.1 from ±1.0: 5 % better is no gain, 15 % better is one."""
    towards = -1.0 if mode == "min" else 1.0
    for gain, cut in ((0.05, True), (0.15, False)):
        values = [level] + [level + towards * gain] * 2 + [level + towards * 10 * gain] * 7
        schedule = recipe("plateau", mode=mode, threshold=0.1, patience="1ep", factor=0.5)
        rates = schedule.preview(LENGTH, values).rates
        assert (rates[30] == LR / 2) == cut


def test_the_patience_of_a_plateau_starts_after_the_warm_up() -> None:
    flat = [1.0] * 10
    preview = recipe("plateau", warmup="40st", patience="2ep", factor=0.5).preview(LENGTH, flat)
    # Seen: evaluations 4 (first), then 5, 6, 7 are bad.
    assert preview.rates[40:70] == pytest.approx([LR] * 30)
    assert preview.rates[70] == pytest.approx(0.4)


def test_a_plateau_never_goes_below_final() -> None:
    flat = [1.0] * 10
    preview = recipe("plateau", patience="1st", factor=0.1, final=0.05).preview(LENGTH, flat)
    assert min(preview.rates) == pytest.approx(0.04)


def test_the_preview_of_a_plateau_shows_the_losses_it_assumed() -> None:
    preview = recipe("plateau", patience="2ep").preview(LENGTH)
    assert preview.assumed_losses is not None
    assert len(preview.assumed_losses) == 10
    assert preview.rates[-1] < LR
    assert recipe("cosine").preview(LENGTH).assumed_losses is None


def test_a_plateau_says_which_metric_it_misses() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR)
    schedule = recipe("plateau", monitor="val_f1", mode="max").build_schedule(optimizer, LENGTH)
    with pytest.raises(UserError, match=r"watches val_f1.*monitor"):
        schedule.evaluated({"val_loss": 1.0})


# Groups and resuming


@pytest.mark.parametrize("name", list(SCHEDULERS))
@pytest.mark.parametrize("warmup", [0, "15st"])
def test_the_head_follows_the_body_times_its_factor(name: str, warmup: str | int) -> None:
    groups = [
        {"params": [torch.zeros(1, requires_grad=True)], "lr_factor": 1.0},
        {"params": [torch.zeros(1, requires_grad=True)], "lr_factor": 10.0, "lr": 10 * LR},
    ]
    optimizer = torch.optim.SGD(groups, lr=LR)
    schedule = recipe(name, warmup).build_schedule(optimizer, LENGTH)
    for _ in range(LENGTH.steps):
        body, head = schedule.rates
        assert head == pytest.approx(10 * body)
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize("name", list(SCHEDULERS))
@pytest.mark.parametrize("warmup", [0, "30st"])
@pytest.mark.parametrize("cut", [13, 30, 57])
def test_a_resume_in_mid_schedule_continues_exactly(
    name: str, warmup: str | int, cut: int, tmp_path: Any
) -> None:
    def start() -> tuple[torch.optim.Optimizer, Schedule]:
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR)
        return optimizer, recipe(name, warmup).build_schedule(optimizer, LENGTH)

    def advance(optimizer: torch.optim.Optimizer, schedule: Schedule, to: int) -> list[float]:
        rates = []
        while schedule.last_epoch < to:
            optimizer.step()
            schedule.step()
            if schedule.last_epoch % 10 == 0:
                schedule.evaluated({"val_loss": 1.0})
            rates.append(schedule.rates[0])
        return rates

    whole = advance(*start(), LENGTH.steps)
    optimizer, schedule = start()
    before = advance(optimizer, schedule, cut)
    torch.save({"o": optimizer.state_dict(), "s": schedule.state_dict()}, tmp_path / "state.pt")
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    optimizer, schedule = start()
    optimizer.load_state_dict(saved["o"])
    schedule.load_state_dict(saved["s"])
    assert before + advance(optimizer, schedule, LENGTH.steps) == whole
