"""Curves as pictures: nothing is lost, whatever the numbers and names."""

from __future__ import annotations

import dataclasses
import math
import threading
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrsearch.analysis.study_data import StudyData, TrialData
from lrsearch.evaluation import Evaluation
from lrsearch.plots.static.curves import (
    Curve,
    rate_curves,
    rates_note,
    simplified,
    thinned,
    value_curves,
    wants_log,
)
from lrsearch.plots.static.rates import rates_picture
from lrsearch.plots.static.trial import trial_picture
from lrsearch.plots.terminal import Paper, text_plot
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig


def evaluation(index: int, loss: float | None = 1.0, **changes: Any) -> Evaluation:
    known: dict[str, Any] = {
        "index": index, "epoch": float(index), "step": 10 * index, "value": loss,
        "values": {} if loss is None else {"train_loss": loss, "val_loss": loss},
        "lr_start": (0.2 / index,), "lr_end": (0.1 / index,), "grad_norm": None, "clipped": None,
        "seconds": 0.1,
    }  # fmt: skip
    return Evaluation(**(known | changes))


TRIAL = TrialData(
    number=3, trial_id=4, unit=3, seed=5, state="done", outcome="complete", value=0.5, reason=None,
    end_step=None, end_lr=None, seconds=1.0, owner="here/1/1.00", device="cpu", attempts=1,
    deaths=0, order=1, finished_at=None,
    recipe=Recipe(0.1, 32, ComponentConfig("sgd"), ComponentConfig("cosine")),
    curve=tuple(evaluation(k, 1.0 / k) for k in range(1, 6)),
)  # fmt: skip
STUDY = StudyData(
    study_id=1, name="a $study_ <b>&", state="open", stopped=None,
    config={"metric": {"name": "val_loss", "mode": "min", "at": "best"}}, record={}, seconds=1.0,
    total=4, trials=(TRIAL,),
)  # fmt: skip


def test_rates_that_are_not_the_recipes_are_points_where_each_stretch_begins_and_ends() -> None:
    (curve,) = rate_curves(STUDY, TRIAL)
    assert not curve.joined
    assert list(curve.x[:4]) == pytest.approx([0.0, 0.2, 0.2, 0.4])
    assert list(curve.y[:4]) == [0.2, 0.1, 0.1, 0.05]
    assert rates_note(STUDY, [TRIAL]).startswith("points alone, ")
    assert rates_note(STUDY, [TRIAL, TRIAL]).startswith("trial 3: points alone, ")


def test_rates_of_the_recipe_are_a_line_with_the_recorded_ones_marked() -> None:
    constant = Recipe(0.1, 32, ComponentConfig("sgd"), ComponentConfig("constant"))
    curve = tuple(evaluation(k, lr_start=(0.1,), lr_end=(0.1,)) for k in (1, 2))
    trial = dataclasses.replace(TRIAL, recipe=constant, curve=curve)
    (line,) = rate_curves(STUDY, trial)
    assert line.joined
    assert (line.x[0], line.x[-1], {*line.y}) == (0.0, 1.0, {0.1})
    assert line.marks == ([0.0, 0.5, 0.5, 1.0], [0.1] * 4)
    _, (train, validation) = value_curves(STUDY, trial)
    assert (list(train.x), list(validation.x)) == ([0.5, 1.0], [0.5, 1.0])
    assert train.marks is not None


def with_groups(*factors: float) -> TrialData:
    """The trial with groups of these factors, named `g0`, `g1`, ..."""

    def rates(first: float) -> tuple[float, ...]:
        return (first, *(factor * first for factor in factors))

    curve = tuple(
        dataclasses.replace(
            row,
            groups=("default", *(f"g{index}" for index in range(len(factors)))),
            lr_start=rates(row.lr_start[0]),
            lr_end=rates(row.lr_end[0]),
        )
        for row in TRIAL.curve
    )
    return dataclasses.replace(TRIAL, curve=curve)


def test_every_group_has_a_curve_and_groups_of_the_same_rates_share_one() -> None:
    assert [one.name for one in rate_curves(STUDY, TRIAL)] == ["lr"]
    first, second = rate_curves(STUDY, with_groups(2.0, 1.0, 2.0))
    assert (first.name, second.name) == ("default, g1", "g0, g2")
    assert list(first.y) == list(rate_curves(STUDY, TRIAL)[0].y)
    assert list(second.y) == [2 * rate for rate in first.y]


def test_of_many_groups_the_lowest_and_the_highest_are_drawn() -> None:
    drawn = rate_curves(STUDY, with_groups(0.5, 0.25, 4.0, 2.0, 0.125))
    assert [one.name for one in drawn] == ["default", "g4", "g2"]
    trial_picture(with_groups(0.5, 0.25), STUDY)


def test_a_rate_between_evaluations_is_not_made_up() -> None:
    curve = Curve("lr", [0.0, 4.0], [0.0, 1.0], joined=False)
    apart, joined = (
        "".join(text_plot([one], "lr", Paper()).split("\n")[2:-3])
        for one in (curve, dataclasses.replace(curve, joined=True))
    )
    assert apart.count("*") == 2
    assert sum(character > "\u2800" for character in joined) > 10


@pytest.mark.parametrize("values", [[2.3201, 2.3204], [1e-5, 1.00001e-5], [0.5, 0.5]])
def test_ticks_are_told_apart(values: list[float]) -> None:
    plot = text_plot([Curve("loss", [1, 2], values)], "loss", Paper())
    labels = [line.partition("┤")[0].strip() for line in plot.splitlines() if "┤" in line]
    assert labels
    assert len(set(labels)) == len(labels)


def test_one_evaluation_is_no_plot() -> None:
    curves = [Curve("loss", [1], [2]), Curve("other", [1], [3])]
    assert text_plot(curves, "loss", Paper()) == "loss: one evaluation, nothing to plot"


def test_what_is_missing_or_not_finite_is_left_out() -> None:
    losses = [1.0, None, math.inf, math.nan, 0.5]
    trial = dataclasses.replace(
        TRIAL, curve=tuple(evaluation(k, loss) for k, loss in enumerate(losses, 1))
    )
    label, curves = value_curves(STUDY, trial)
    assert (label, len(curves)) == ("loss", 2)
    for curve in curves:
        assert (list(curve.x), list(curve.y)) == ([0.2, 1.0], [1.0, 0.5])
    empty = dataclasses.replace(TRIAL, curve=(evaluation(1, None),))
    assert value_curves(STUDY, empty)[1] == []


def test_a_trial_without_a_loss_is_drawn_by_its_metric() -> None:
    curve = tuple(evaluation(k, values={"accuracy": k / 4}, value=k / 4) for k in range(1, 4))
    config = {"metric": {"name": "accuracy", "mode": "max", "at": "best"}}
    study = dataclasses.replace(STUDY, config=config)
    label, (drawn,) = value_curves(study, dataclasses.replace(TRIAL, curve=curve))
    assert (label, drawn.name, list(drawn.y)) == ("accuracy", "accuracy", [0.25, 0.5, 0.75])


@pytest.mark.parametrize(
    "curve",
    [
        TRIAL.curve,
        (),
        (evaluation(1),),
        (evaluation(1, None), evaluation(2, math.nan)),
        (evaluation(1, 1e30), evaluation(2, 1e-30)),
        (evaluation(1, lr_start=(0.0,), lr_end=(0.0,)),),
    ],
)
def test_every_trial_has_a_picture(curve: tuple[Evaluation, ...]) -> None:
    trial = dataclasses.replace(TRIAL, curve=curve)
    assert ElementTree.fromstring(trial_picture(trial, STUDY)).tag.endswith("svg")
    assert trial_picture(trial, STUDY, "png").startswith(b"\x89PNG")


def test_a_trial_that_has_just_begun_has_a_picture() -> None:
    trial = dataclasses.replace(TRIAL, curve=(), recipe=None, value=None, outcome=None)
    assert trial_picture(trial, STUDY)


def test_threads_draw_at_the_same_time() -> None:
    drawn: list[bytes] = []

    def draw() -> None:
        drawn.append(trial_picture(TRIAL, STUDY, "png"))

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(drawn) == 4
    assert set(drawn) == {trial_picture(TRIAL, STUDY, "png")}


def test_names_are_drawn_as_they_are() -> None:
    curves = [Curve("$a_$", [0, 1], [1, 2]), Curve("_hidden", [0, 1], [2, 1])]
    assert rates_picture(curves, "100 $ of_", "svg")


@given(
    st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=300),
    st.integers(4, 50),
)
def test_thinned_curves_keep_their_ends_and_their_extremes(y: list[float], most: int) -> None:
    x = list(range(len(y)))
    kept_x, kept_y = thinned(x, y, most)
    assert (kept_x[0], kept_x[-1]) == (x[0], x[-1])
    assert (min(kept_y), max(kept_y)) == (min(y), max(y))
    assert kept_x == sorted(set(kept_x))
    assert len(kept_x) <= most + 2
    assert all(y[int(at)] == value for at, value in zip(kept_x, kept_y, strict=True))


@given(
    st.lists(st.floats(1e-9, 1e3) | st.just(1.0), min_size=2, max_size=40),
    st.integers(20, 60),
)
def test_a_simplified_line_is_nowhere_visibly_off(levels: list[float], length: int) -> None:
    # Stretches of a level, of which each begins at its own step, and slopes between some of them.
    y = np.concatenate(
        [
            np.full(length, level) if k % 2 else np.linspace(level, levels[k - 1], length)
            for k, level in enumerate(levels)
        ]
    )
    x = np.arange(len(y)) / len(y)
    kept_x, kept_y = simplified(x, y)
    assert (kept_x[0], kept_x[-1]) == (x[0], x[-1])
    drawn = np.interp(x, kept_x, kept_y)
    assert (np.abs(drawn - y) <= 0.005 * y + 1.1e-4 * y.max()).all()


def test_a_simplified_line_has_few_points_and_every_jump_at_its_step() -> None:
    step = np.arange(100_001)
    y = 0.1 * 0.5 ** (step // 7_919)
    x, kept = simplified(step / 100_000, y)
    assert len(x) < 100
    cuts = [round(100_000 * at) for k, at in enumerate(x) if k and kept[k] < kept[k - 1]]
    assert cuts == [*range(7_919, 100_000, 7_919)]


def test_a_line_of_thousands_of_cycles_keeps_its_extremes() -> None:
    y = np.abs(np.arange(200_000) % 40 - 20) / 20
    x, kept = simplified(np.arange(200_000) / 200_000, y)
    assert len(x) < 5_000
    assert (min(kept), max(kept)) == (0.0, 1.0)


def test_a_logarithmic_scale_is_for_what_is_above_0_and_far_apart() -> None:
    def wants(y: list[float]) -> bool:
        return wants_log([Curve("", y, y)])

    assert wants([1e-4, 1.0, math.inf])
    assert not wants([0.0, 1.0, 100.0])
    assert not wants([1.0, 2.0])
    assert not wants([math.cos(math.pi * k / 1000) + 1.0 for k in range(1000)])
    assert wants([0.1 ** (k // 25) for k in range(100)])
    assert not wants([])


def test_text_has_the_width_of_its_paper_and_colours_only_where_they_are_in_place() -> None:
    curves = [Curve(f"trial {k}", [0, 1, 2], [k, 2, 1]) for k in range(3)]
    for width in (40, 80, 200):
        plain = text_plot(curves, "loss", Paper(width))
        assert "\x1b" not in plain
        assert max(map(len, plain.splitlines())) <= width
        assert all(curve.name in plain for curve in curves)
    assert "\x1b" in text_plot(curves, "loss", Paper(80, coloured=True))
    assert "nothing to draw" in text_plot([Curve("a", [], [])], "loss", Paper())
