"""Every scheduler family against a closed formula of its own, at random lengths from one step.

The formulas here are written down from the families' descriptions and share no code with lrsearch:
`t` counts steps after the warm-up, `span` is how many there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrsearch.parameters.durations import Length
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.schedules.families import SCHEDULERS

EXAMPLES = 60
MANY = 313  # of each of the 16 families: 5,008 in all


@dataclass(frozen=True)
class Time:
    """The length of a training in steps, and how long its warm-up is."""

    steps: int
    per_epoch: int
    per_evaluation: int
    warmup: int

    @property
    def span(self) -> int:
        return self.steps - self.warmup

    def in_steps(self, duration: float | str) -> int:
        return _in_steps(duration, self.steps, self.per_epoch)

    def moment(self, duration: float | str) -> int:
        at_start = float(str(duration).removesuffix("ep").removesuffix("st")) == 0
        return 0 if at_start else max(0, self.in_steps(duration) - self.warmup)


def _in_steps(duration: float | str, steps: int, per_epoch: int) -> int:
    text = str(duration)
    if text.endswith("ep"):
        exact = float(text[:-2]) * per_epoch
    elif text.endswith("st"):
        exact = float(text[:-2])
    else:
        exact = float(text) * steps
    return max(1, round(exact))


Formula = Callable[[Time, dict[str, Any], int], float]
"""From the time, the family's parameters and `t` to the share of the peak."""


def cosine(x: float) -> float:
    return (1 + math.cos(math.pi * x)) / 2


def cosine_restarts(time: Time, p: dict[str, Any], t: int) -> float:
    cycle = time.in_steps(p["T_0"])
    while t >= cycle:
        t, cycle = t - cycle, cycle * p["T_mult"]
    return float(p["final"] + (1 - p["final"]) * cosine(t / cycle))


def multistep(time: Time, p: dict[str, Any], t: int) -> float:
    cuts = sum(t >= max(1, time.moment(when)) for when in p["milestones"])
    return float(p["gamma"] ** cuts)


def cyclic(time: Time, p: dict[str, Any], t: int) -> float:
    up, down = time.in_steps(p["step_size_up"]), time.in_steps(p["step_size_down"])
    cycle, at = divmod(t, up + down)
    height = at / up if at <= up else (up + down - at) / down
    peak = {
        "triangular": 1.0,
        "triangular2": 0.5**cycle,
        "exp_range": p["gamma"] ** (t / (up + down)),
    }[p["mode"]]
    return float(p["base"] + (1 - p["base"]) * height * peak)


def one_cycle(time: Time, p: dict[str, Any], t: int) -> float:
    first = 1 / p["div_factor"]
    last, top = first / p["final_div_factor"], p["pct_start"] * time.span
    if t <= top:
        start, end, x = first, 1.0, t / top
    else:
        start, end, x = 1.0, last, (t - top) / (time.span - top)
    shape = cosine(x) if p["anneal_strategy"] == "cos" else 1 - x
    return float(end + (start - end) * shape)


def wsd(time: Time, p: dict[str, Any], t: int) -> float:
    decay = min(time.in_steps(p["decay"]), time.span)
    x = max(0.0, (t - (time.span - decay)) / decay)
    shape = {"linear": 1 - x, "cosine": cosine(x), "sqrt": 1 - math.sqrt(x)}[p["shape"]]
    return float(p["final"] + (1 - p["final"]) * shape)


def piecewise(time: Time, p: dict[str, Any], t: int) -> float:
    """The last point at or before `t` begins the line to the first one after it."""
    before: tuple[int, float] | None = None
    after: tuple[int, float] | None = None
    for when, factor in p["points"]:
        moment = time.moment(when)
        if moment <= t and (before is None or moment >= before[0]):
            before = (moment, factor)
        if moment > t and (after is None or moment < after[0]):
            after = (moment, factor)
    if before is None or after is None:
        known = before or after
        assert known is not None
        return known[1]
    share = (t - before[0]) / (after[0] - before[0])
    return before[1] * (1 - share) + after[1] * share


_FORMULAS: dict[str, Callable[[int, int, float], float]] = {
    "1 - progress": lambda step, epoch, progress: 1 - progress,
    "0.5 ** epoch": lambda step, epoch, progress: 0.5**epoch,
    "cos(pi * progress / 2) if epoch < 2 else 0.25": lambda step, epoch, progress: (
        math.cos(math.pi * progress / 2) if epoch < 2 else 0.25
    ),
    "1 / (1 + step)": lambda step, epoch, progress: 1 / (1 + step),
    "0.9": lambda step, epoch, progress: 0.9,
    "progress - 0.5": lambda step, epoch, progress: progress - 0.5,
}


def formula_at(time: Time, source: str, t: int) -> float:
    step = t + time.warmup
    return max(0.0, _FORMULAS[source](step, step // time.per_epoch, step / time.steps))


def multiplicative(time: Time, p: dict[str, Any], t: int) -> float:
    every = time.in_steps(p["every"])
    return math.prod(formula_at(time, p["factor"], k) for k in range(every, t + 1, every))


CLOSED: dict[str, Formula] = {
    "constant": lambda time, p, t: 1.0,
    "step": lambda time, p, t: p["gamma"] ** (t // time.in_steps(p["step_size"])),
    "multistep": multistep,
    "exponential": lambda time, p, t: p["gamma"] ** (t / time.in_steps(p["every"])),
    "cosine": lambda time, p, t: p["final"] + (1 - p["final"]) * cosine(t / time.span),
    "cosine_restarts": cosine_restarts,
    "linear": lambda time, p, t: 1 + (p["final"] - 1) * t / time.span,
    "polynomial": lambda time, p, t: (1 - t / time.span) ** p["power"],
    "lambda": lambda time, p, t: formula_at(time, p["formula"], t),
    "multiplicative": multiplicative,
    "cyclic": cyclic,
    "one_cycle": one_cycle,
    "wsd": wsd,
    "inverse_sqrt": lambda time, p, t: 1 / math.sqrt(1 + t / time.in_steps(p["timescale"])),
    "piecewise": piecewise,
}


def plateau_shares(time: Time, p: dict[str, Any], values: Sequence[float]) -> list[float]:
    """Replays a plateau: the share of the peak at each step, the last after the last step."""
    patience = max(1, round(time.in_steps(p["patience"]) / time.per_evaluation))
    sign = 1 if p["mode"] == "min" else -1
    rate, best, bad, resting = 1.0, math.inf, 0, 0
    shares = [(k + 1) / (time.warmup + 1) for k in range(time.warmup)] + [1.0]
    for step in range(1, time.steps + 1):
        evaluation, rest = divmod(step, time.per_evaluation)
        if rest == 0 and step >= time.warmup:
            value = sign * values[evaluation - 1]
            gain = 0.0 if math.isinf(best) else p["threshold"] * abs(best)
            best, bad = (value, 0) if value < best - gain else (best, bad + 1)
            if resting:
                resting, bad = resting - 1, 0
            if bad > patience:
                rate, bad, resting = max(rate * p["factor"], p["final"]), 0, p["cooldown"]
        if step > time.warmup:
            shares.append(rate)
        elif step == time.warmup:
            shares[step] = rate
    return shares


# Random parameters

unit = st.floats(0.0, 1.0)
gammas = st.floats(0.05, 1.0)
durations = st.one_of(
    st.floats(0.0, 1.0).map(lambda share: round(share, 4)),
    st.floats(0.0, 6.0).map(lambda epochs: f"{epochs:.2f}ep"),
    st.integers(1, 45).map(lambda steps: f"{steps}st"),
)
formulas = st.sampled_from(sorted(_FORMULAS))
ROUND = st.sampled_from([0, 0.25, 0.5, 1, "0ep", "1ep", "5st"])
"""Moments that often coincide."""

PARAMETERS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "constant": {},
    "step": {"step_size": durations, "gamma": gammas},
    "multistep": {"milestones": st.lists(durations, min_size=1, max_size=4), "gamma": gammas},
    "exponential": {"gamma": gammas, "every": durations},
    "cosine": {"final": unit},
    "cosine_restarts": {"T_0": durations, "T_mult": st.integers(1, 3), "final": unit},
    "linear": {"final": unit},
    "polynomial": {"power": st.floats(0.1, 5.0)},
    "lambda": {"formula": formulas},
    "multiplicative": {"factor": formulas, "every": durations},
    "cyclic": {
        "base": unit,
        "step_size_up": durations,
        "step_size_down": durations,
        "mode": st.sampled_from(["triangular", "triangular2", "exp_range"]),
        "gamma": gammas,
    },
    "one_cycle": {
        "pct_start": st.floats(0.01, 0.99),
        "anneal_strategy": st.sampled_from(["cos", "linear"]),
        "div_factor": st.floats(1.0, 100.0),
        "final_div_factor": st.floats(1.0, 1e5),
    },
    "wsd": {
        "decay": durations,
        "shape": st.sampled_from(["linear", "cosine", "sqrt"]),
        "final": unit,
    },
    "inverse_sqrt": {"timescale": durations},
    "piecewise": {
        "points": st.lists(st.tuples(durations | ROUND, unit), min_size=1, max_size=5).map(
            lambda points: [list(point) for point in points]
        )
    },
    "plateau": {
        "factor": st.floats(0.1, 0.9),
        "patience": durations,
        "threshold": st.sampled_from([0.0, 1e-4, 0.1, 0.5]),
        "cooldown": st.integers(0, 3),
        "final": st.floats(0.0, 0.5),
        "mode": st.sampled_from(["min", "max"]),
    },
}


@st.composite
def times(draw: st.DrawFn) -> tuple[Time, float | str]:
    """A length, and the warm-up as it is written."""
    steps = draw(st.integers(1, 32))
    per_epoch, per_evaluation = draw(st.integers(1, 60)), draw(st.integers(1, steps))
    written = draw(st.just(0) | durations)
    warmup = 0
    if float(str(written).removesuffix("ep").removesuffix("st")):
        warmup = min(_in_steps(written, steps, per_epoch), steps - 1)
    return Time(steps, per_epoch, per_evaluation, warmup), written


def recipe_of(name: str, warmup: float | str, lr: float, parameters: dict[str, Any]) -> Recipe:
    return Recipe(
        lr=lr,
        batch_size=8,
        optimizer=ComponentConfig("sgd"),
        scheduler=ComponentConfig(name, parameters),
        warmup=warmup,
    )


def length_of(time: Time) -> Length:
    return Length(time.steps, time.per_epoch, time.per_evaluation)


def check_rates(name: str, data: st.DataObject) -> None:
    """Assert that the rates of a recipe that is drawn are those of its family's formula."""
    time, warmup = data.draw(times())
    lr = data.draw(st.floats(1e-5, 10.0))
    parameters = data.draw(st.fixed_dictionaries(PARAMETERS[name]))
    shares = [CLOSED[name](time, parameters, t) for t in range(time.span + 1)]
    ramp = [shares[0] * (k + 1) / (time.warmup + 1) for k in range(time.warmup)]
    expected = [lr * share for share in [*ramp, *shares]]
    recipe, length = recipe_of(name, warmup, lr, parameters), length_of(time)
    stepped = recipe.preview(length).rates
    assert stepped == pytest.approx(expected, rel=1e-6, abs=1e-9 * lr)
    computed = recipe.rates(length)
    assert computed is not None
    assert list(computed) == pytest.approx(stepped, rel=1e-6, abs=1e-9 * lr)


@pytest.mark.parametrize("name", CLOSED)
@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data())
def test_the_rate_of_every_step_is_that_of_the_closed_formula(
    name: str, data: st.DataObject
) -> None:
    check_rates(name, data)


@pytest.mark.slow
@pytest.mark.parametrize("name", CLOSED)
@settings(max_examples=MANY, deadline=None)
@given(data=st.data())
def test_the_rates_of_thousands_of_recipes_are_those_of_the_closed_formulas(
    name: str, data: st.DataObject
) -> None:
    check_rates(name, data)


@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data())
def test_a_plateau_cuts_as_a_replay_of_its_values_does(data: st.DataObject) -> None:
    time, warmup = data.draw(times())
    lr = data.draw(st.floats(1e-5, 10.0))
    parameters = data.draw(st.fixed_dictionaries(PARAMETERS["plateau"]))
    count = math.ceil(time.steps / time.per_evaluation)
    # Few distinct values, some below zero: the best is often met again, or missed by little.
    some = st.integers(-6, 6).map(lambda k: k / 4)
    values = data.draw(st.lists(some, min_size=count, max_size=count))
    expected = [lr * share for share in plateau_shares(time, parameters, values)]
    recipe = recipe_of("plateau", warmup, lr, parameters)
    stepped = recipe.preview(length_of(time), values).rates
    assert stepped == pytest.approx(expected, rel=1e-9, abs=1e-12 * lr)
    computed = recipe.rates(length_of(time))
    assert computed is not None
    until = time.warmup + 1
    assert list(computed[:until]) == pytest.approx(stepped[:until], rel=1e-9)
    assert all(computed[until:] == lr)


def test_every_formula_is_of_a_family_and_has_parameters() -> None:
    assert {*CLOSED, "plateau"} == set(PARAMETERS) <= set(SCHEDULERS)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_rates_of_every_family_are_computed_without_torch(name: str) -> None:
    assert recipe_of(name, 0.1, 0.1, {}).rates(Length.of(steps=100, epochs=5)) is not None


def test_a_scheduler_of_the_users_own_is_not_imported_to_compute_its_rates() -> None:
    own = ComponentConfig.own_code("no_such_module.factor", {})
    recipe = Recipe(0.1, 8, ComponentConfig("sgd"), own)
    assert recipe.rates(Length.of(steps=10)) is None
