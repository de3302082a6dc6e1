"""The figures of a study."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from ramps import ramp_of, rates_of, trained
from synthetic import RECORD, recipe, sampled, study_of, trial

from lrsearch.analysis.findings import findings
from lrsearch.analysis.study_data import StudyData, TrialData
from lrsearch.parameters.durations import Length
from lrsearch.plots.interactive.curves import rate_curves
from lrsearch.plots.interactive.study import report_figures, study_figures
from lrsearch.plots.interactive.style import colour
from lrsearch.plots.palette import BEST
from lrsearch.range_test.result import RangeTest
from lrsearch.report import captions
from lrsearch.space.space import Coupling

pytest.importorskip("plotly")

DASHBOARD = ["lrsearch-curves", "lrsearch-rates", "lrsearch-loss-vs-lr", "lrsearch-map",
             "lrsearch-importance"]  # fmt: skip


@pytest.fixture(scope="module")
def searched() -> StudyData:
    return sampled(120)


@pytest.fixture(scope="module")
def drawn(searched: StudyData) -> dict[str, Any]:
    """The figures as JSON, as a browser gets them."""
    figures = report_figures(searched, findings(searched))
    return {name: json.loads(figure.to_json()) for name, figure in figures.items()}


def test_the_dashboard_gets_its_five_by_fixed_names(searched: StudyData) -> None:
    assert list(study_figures(searched, findings(searched))) == DASHBOARD


def test_the_report_gets_these_and_seven_more(drawn: dict[str, Any]) -> None:
    assert list(drawn) == [
        *DASHBOARD, "lrsearch-families", "lrsearch-optimizers", "lrsearch-heat-map",
        "lrsearch-space", "lrsearch-frontier", "lrsearch-parallel", "lrsearch-spent",
    ]  # fmt: skip


def test_every_axis_has_a_title_or_names_at_its_ticks(drawn: dict[str, Any]) -> None:
    for name, figure in drawn.items():
        for axis in ("xaxis", "yaxis"):
            layout = figure["layout"][axis]
            assert layout["title"]["text"] or layout["ticktext"], name


def test_every_figure_shows_something(drawn: dict[str, Any]) -> None:
    for name, figure in drawn.items():
        for trace in figure["data"]:
            assert any(value is not None for value in trace["x"]), name
            values = trace.get("z", trace.get("y", trace["x"]))
            assert len(values) == len(trace["y"] if "z" in trace else trace["x"]), name


def test_a_family_has_the_same_colour_in_every_figure(drawn: dict[str, Any]) -> None:
    for name in ("lrsearch-curves", "lrsearch-loss-vs-lr", "lrsearch-families"):
        traces = {trace.get("name"): trace for trace in drawn[name]["data"]}
        cosine = traces.get("cosine") or traces["adamw, cosine"]
        shade = cosine.get("marker", {}).get("color") or cosine["line"]["color"]
        assert shade == colour("cosine"), name


def test_curves_hold_each_evaluation_of_each_trial(
    searched: StudyData, drawn: dict[str, Any]
) -> None:
    points = sum(
        value is not None for trace in drawn["lrsearch-curves"]["data"] for value in trace["y"]
    )
    assert points == sum(len(one.curve) for one in searched.trials)


def test_the_best_trial_is_the_first_of_the_rates(
    searched: StudyData, drawn: dict[str, Any]
) -> None:
    traces = [trace for trace in drawn["lrsearch-rates"]["data"] if trace.get("showlegend", True)]
    best = searched.ranked[0]
    assert f"1. cosine (trial {best.number})" in traces[0]["name"]
    assert len(traces) == 10


def held_by(trial: TrialData) -> TrialData:
    """The trial with the rates of its recipe, of 15 epochs of which all were trained."""
    assert trial.recipe is not None
    length = Length.of(n_train=1078, batch_size=trial.recipe.batch_size, epochs=15)
    rates, per_epoch = trial.recipe.preview(length).rates, length.steps_per_epoch
    curve = [
        replace(
            row,
            step=row.index * per_epoch,
            lr_start=(rates[(row.index - 1) * per_epoch],),
            lr_end=(rates[row.index * per_epoch],),
        )
        for row in trial.curve
    ]
    return replace(trial, curve=tuple(curve))


def test_losses_and_the_rate_of_every_step_have_one_axis() -> None:
    used = recipe(0.1, 107, "step", arguments={"step_size": "7st"}, warmup="5st")
    study = study_of([held_by(trial(0, used, 0.5, epochs=15))])
    losses, line, points = rate_curves(study).data
    rates = used.preview(Length.of(n_train=1078, batch_size=107, epochs=15)).rates
    assert list(line.y) == pytest.approx(rates, rel=1e-3)
    assert list(line.x) == pytest.approx([step / 150 for step in range(151)], abs=1e-5)
    assert (line.mode, points.mode, losses.mode) == ("lines", "markers", "lines+markers")
    assert list(losses.x) == pytest.approx([k / 15 for k in range(1, 16)], abs=1e-5)
    assert list(points.x[1::2]) == pytest.approx(list(losses.x))
    assert (losses.yaxis, line.yaxis) == ("y2", None)
    assert "The line is the rate of every step" in captions.rates(study)


def test_rates_that_are_not_the_recipes_are_points_alone() -> None:
    used = recipe(0.1, 107)
    study = study_of([trial(0, used, 0.5, epochs=2)])
    losses, points = rate_curves(study).data
    assert list(points.x) == pytest.approx([0, 10 / 150, 10 / 150, 20 / 150], abs=1e-5)
    assert list(points.y) == [0.1, 0.05, 0.05, 0.0]
    assert (losses.mode, points.mode) == ("lines+markers", "markers")
    assert points.showlegend
    assert "points alone" in captions.rates(study)
    assert "every step" not in captions.rates(study)


def test_the_rates_of_every_group_of_the_best_trial_are_drawn(searched: StudyData) -> None:
    def both(rates: tuple[float, ...]) -> tuple[float, ...]:
        return (rates[0], 3 * rates[0])

    def with_head(trial: TrialData) -> TrialData:
        curve = (
            replace(
                row,
                groups=("default", "head"),
                lr_start=both(row.lr_start),
                lr_end=both(row.lr_end),
            )
            for row in trial.curve
        )
        return replace(trial, curve=tuple(curve))

    study = replace(searched, trials=tuple(map(with_head, searched.trials)))
    figure = rate_curves(study)
    assert figure is not None
    first, head, second, *_ = [trace for trace in figure.data if trace.yaxis != "y2"]
    assert head.name == first.name.replace(")", ", head)")
    assert list(head.y) == pytest.approx([3 * rate for rate in first.y], rel=1e-3)
    assert second.name.startswith("2.")


def test_a_curve_of_one_evaluation_is_drawn_as_a_marker() -> None:
    pruned = trial(1, recipe(0.2), 2.0, "pruned", epochs=1)
    study = study_of([trial(0, recipe(), 0.5), pruned])
    whole, single = json.loads(study_figures(study, findings(study))["lrsearch-curves"].to_json())[
        "data"
    ]
    assert (whole["mode"], single["mode"]) == ("lines+markers", "markers")
    assert single["x"] == [pytest.approx(1 / 15, abs=1e-5), None]
    assert not single["showlegend"]


def test_no_log_axis_has_bare_digits(drawn: dict[str, Any]) -> None:
    found = 0
    for name, figure in drawn.items():
        for axis in ("xaxis", "yaxis"):
            layout = figure["layout"][axis]
            if layout.get("type") == "log":
                found += 1
                assert len(layout["ticktext"]) >= 2, name
    assert found >= 5


def test_the_map_has_the_fitted_exponents(drawn: dict[str, Any]) -> None:
    names = [trace["name"] for trace in drawn["lrsearch-map"]["data"]]
    assert sum("exponent" in name for name in names) == 2


def test_each_fitted_line_of_the_map_has_a_band(drawn: dict[str, Any]) -> None:
    bands = [trace for trace in drawn["lrsearch-map"]["data"] if trace.get("fill") == "toself"]
    assert [band["name"] for band in bands] == [
        "adamw: 95 % band over trials", "sgd: 95 % band over trials",
    ]  # fmt: skip


def test_optimizers_have_their_own_axes_and_curves_over_the_rate(drawn: dict[str, Any]) -> None:
    figure = drawn["lrsearch-loss-vs-lr"]
    titles = [annotation["text"] for annotation in figure["layout"]["annotations"]]
    assert titles == ["adamw", "sgd"]
    optima = [trace for trace in figure["data"] if trace["name"].startswith("optimum")]
    assert [trace["xaxis"] for trace in optima] == ["x", "x2"]
    for trace in optima:
        rates = {
            point
            for other in figure["data"]
            if other["xaxis"] == trace["xaxis"] and other["mode"] == "markers"
            for point in other["x"]
        }
        assert min(rates) < trace["x"][0] < max(rates)
        assert trace["error_x"]["array"][0] > 0


def test_the_dashboard_has_room_for_the_optimizer_of_the_best_trial_alone() -> None:
    rates = [0.01 * 100 ** (k / 9) for k in range(10)]
    trials = [trial(k, recipe(rate), 1 + math.log(rate / 0.1) ** 2) for k, rate in enumerate(rates)]
    study = study_of([*trials, trial(10, recipe(0.1, optimizer="adamw"), 9.0)])
    found = findings(study)
    for figures, titles in ((study_figures, ["sgd"]), (report_figures, ["adamw", "sgd"])):
        figure = figures(study, found)["lrsearch-loss-vs-lr"]
        assert [annotation.text for annotation in figure.layout.annotations] == titles


def test_a_pruned_trial_is_drawn_at_its_forecast_with_an_open_marker() -> None:
    rates = [0.01 * 100 ** (k / 9) for k in range(10)]
    trials = [trial(k, recipe(rate), 1 + math.log(rate / 0.1) ** 2) for k, rate in enumerate(rates)]
    pruned = trial(10, recipe(1.5), 9.0, "pruned", epochs=2)
    study = study_of([*trials, pruned])
    found = findings(study)
    (forecast,) = found.basins.forecast.values()
    figure = study_figures(study, found)["lrsearch-loss-vs-lr"]
    (trace,) = [trace for trace in figure.data if "forecast" in (trace.hovertemplate or "")]
    assert trace.marker.symbol.endswith("-open")
    assert list(trace.y) == [pytest.approx(forecast, rel=1e-3)]


def test_the_map_needs_two_batch_sizes() -> None:
    one = study_of([trial(k, recipe(0.1 * 2**k), 1.0 + k) for k in range(4)])
    assert "lrsearch-map" not in study_figures(one, findings(one))


def test_only_the_ends_of_a_pruned_trial_are_drawn_in_the_frontier(drawn: dict[str, Any]) -> None:
    survived, diverged = drawn["lrsearch-frontier"]["data"]
    assert len(survived["x"]) + len(diverged["x"]) == 120
    assert "at step 3" in diverged["customdata"][0][2]


@pytest.mark.parametrize(
    ("study", "there"),
    [
        (lambda: study_of([], total=3), []),
        (
            lambda: study_of([trial(0, recipe(), 0.5)]),
            ["lrsearch-curves", "lrsearch-rates", "lrsearch-families", "lrsearch-space",
             "lrsearch-spent"],
        ),
        (
            lambda: study_of([trial(0, recipe(), None, "diverged", epochs=0)]),
            ["lrsearch-frontier", "lrsearch-spent"],
        ),
    ],
)  # fmt: skip
def test_a_figure_that_has_nothing_to_show_is_left_out(study: Any, there: list[str]) -> None:
    made = study()
    assert list(report_figures(made, findings(made))) == there


def test_the_ramps_of_a_range_test_are_drawn_with_the_rates_and_the_range() -> None:
    ramps = [
        ramp_of(trained(rates_of(100), edge=edge, seed=seed), 100, optimizer, size, seed)
        for optimizer, edge in (("sgd", 0.3), ("adamw", 0.1))
        for size in (32, 128)
        for seed in (0, 1)
    ]
    test = RangeTest(tuple(ramps), 40_000, 1.0, Coupling(), {})
    study = study_of([trial(0, recipe(), 1.0)], record={**RECORD, "range_test": test.to_json()})
    figure = json.loads(study_figures(study, findings(study))["lrsearch-range-test"].to_json())
    names = [trace["name"] for trace in figure["data"] if trace["mode"] == "lines"]
    assert names == ["sgd, batch 32", "sgd, batch 128", "range for sgd", "adamw, batch 32",
                     "adamw, batch 128", "range for adamw"]  # fmt: skip
    bars = {trace["name"]: trace["x"] for trace in figure["data"] if "range" in trace["name"]}
    for optimizer in test.optimizers:
        suggested = test.suggested(optimizer)
        assert suggested is not None
        assert bars[f"range for {optimizer}"] == [suggested.low, suggested.high]
    assert sum(trace["mode"] == "markers" for trace in figure["data"]) == 8
    assert figure["layout"]["xaxis"]["type"] == "log"


def test_parallel_lines_pass_by_the_parameters_that_a_trial_does_not_have(
    searched: StudyData, drawn: dict[str, Any]
) -> None:
    """No line is cut off at an axis that its trial has no place on."""
    figure = drawn["lrsearch-parallel"]
    names = [text.partition("</b>")[0] for text in figure["layout"]["yaxis"]["ticktext"]]
    assert {"<b>learning rate", "<b>lr", "<b>adamw.lr"} & {*names} == {"<b>learning rate"}
    momentum = names.index("<b>sgd.momentum")
    without = {
        one.number
        for one in searched.ranked
        if one.recipe is not None and one.recipe.optimizer.name == "adamw"
    }
    seen = set()
    for trace in figure["data"]:
        lines: list[list[tuple[float, str]]] = [[]]
        for y, text in zip(trace["y"], trace["text"], strict=True):
            if y is None:
                lines.append([])
            else:
                lines[-1].append((y, text))
        for line in filter(None, lines):
            number = int(line[0][1].split()[1].rstrip(":"))
            seen.add(number)
            rows = [row for row, _ in line]
            assert (rows[0], rows[-1]) == (0, len(names) - 1)
            assert (momentum in rows) == (number not in without)
    assert seen == {one.number for one in searched.ranked}


def test_the_best_trial_alone_is_golden_in_the_parallel_coordinates(
    searched: StudyData, drawn: dict[str, Any]
) -> None:
    golden = [
        trace["name"]
        for trace in drawn["lrsearch-parallel"]["data"]
        if trace["line"]["color"] == BEST
    ]
    assert golden == [f"trial {searched.ranked[0].number}, the best"]


def test_figures_and_legends_keep_their_order_whatever_the_order_of_the_trials(
    searched: StudyData, drawn: dict[str, Any]
) -> None:
    """But for the numbers in the names of fits, which are drawn by chance from the trials."""

    def names(figure: dict[str, Any]) -> list[str]:
        return [str(trace.get("name")).partition(":")[0] for trace in figure["data"]]

    turned = replace(searched, trials=searched.trials[::-1])
    figures = report_figures(turned, findings(turned))
    assert list(figures) == list(drawn)
    for name, figure in figures.items():
        assert names(json.loads(figure.to_json())) == names(drawn[name]), name
