"""The figures of a study."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from ramps import ramp_of, rates_of, trained
from synthetic import RECORD, recipe, sampled, study_of, trial

from lrsearch.analysis.findings import findings
from lrsearch.analysis.study_data import StudyData, TrialData
from lrsearch.plots.interactive.curves import rate_curves
from lrsearch.plots.interactive.study import report_figures, study_figures
from lrsearch.plots.interactive.style import colour, rounded
from lrsearch.range_test.result import RangeTest
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


def test_the_report_gets_these_and_five_more(drawn: dict[str, Any]) -> None:
    assert list(drawn) == [
        *DASHBOARD, "lrsearch-families", "lrsearch-space", "lrsearch-frontier",
        "lrsearch-parallel", "lrsearch-spent",
    ]  # fmt: skip


def test_every_axis_has_a_title(drawn: dict[str, Any]) -> None:
    for name, figure in drawn.items():
        for axis in ("xaxis", "yaxis"):
            assert figure["layout"][axis]["title"]["text"], name


def test_every_figure_shows_something(drawn: dict[str, Any]) -> None:
    for name, figure in drawn.items():
        for trace in figure["data"]:
            assert any(value is not None for value in trace["x"]), name
            assert len(trace["x"]) == len(trace["y"] if "y" in trace else trace["x"]), name


def test_a_family_has_the_same_colour_in_every_figure(drawn: dict[str, Any]) -> None:
    for name in ("lrsearch-curves", "lrsearch-loss-vs-lr", "lrsearch-families"):
        traces = {trace.get("name"): trace for trace in drawn[name]["data"]}
        cosine = traces["cosine"]
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
    first = drawn["lrsearch-rates"]["data"][0]
    best = searched.ranked[0]
    assert f"trial {best.number}" in first["name"]
    assert len(drawn["lrsearch-rates"]["data"]) == 10 + 1
    peak = drawn["lrsearch-rates"]["data"][-1]
    assert best.recipe is not None
    assert peak["y"] == [rounded(best.recipe.lr)] * 2


def test_rates_are_markers_at_both_ends_of_each_evaluation(drawn: dict[str, Any]) -> None:
    # Between them a warm-up or a cut may lie: no line claims to know.
    used = recipe(0.1, 107)
    study = study_of([trial(0, used, 0.5, epochs=2)])
    (first, _) = json.loads(report_figures(study, findings(study))["lrsearch-rates"].to_json())[
        "data"
    ]
    assert first["x"] == [0, 10, 10, 20]
    assert first["y"] == [0.1, 0.05, 0.05, 0.0]
    assert all(
        "markers" in trace["mode"] and trace["line"]["dash"] == "dot"
        for trace in drawn["lrsearch-rates"]["data"][:-1]
    )


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
    first, head, second, *_ = figure.data
    assert head.name == first.name.replace(")", ", head)")
    assert list(head.y) == pytest.approx([3 * rate for rate in first.y], rel=1e-3)
    assert second.name.startswith("2.")


def test_a_curve_of_one_evaluation_is_drawn_as_a_marker() -> None:
    pruned = trial(1, recipe(0.2), 2.0, "pruned", epochs=1)
    study = study_of([trial(0, recipe(), 0.5), pruned])
    whole, single = json.loads(study_figures(study, findings(study))["lrsearch-curves"].to_json())[
        "data"
    ]
    assert (whole["mode"], single["mode"]) == ("lines", "markers")
    assert single["x"] == [1.0, None]
    assert not single["showlegend"]


def test_no_log_axis_has_bare_digits(drawn: dict[str, Any]) -> None:
    found = 0
    for name, figure in drawn.items():
        for axis in ("xaxis", "yaxis"):
            layout = figure["layout"][axis]
            if layout.get("type") == "log":
                found += 1
                assert "dtick" in layout or len(layout["ticktext"]) >= 2, name
    assert found >= 5


def test_the_map_has_the_fitted_exponents(drawn: dict[str, Any]) -> None:
    names = [trace["name"] for trace in drawn["lrsearch-map"]["data"]]
    assert sum("exponent" in name for name in names) == 2


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
            ["lrsearch-curves", "lrsearch-rates", "lrsearch-map", "lrsearch-families",
             "lrsearch-space", "lrsearch-spent"],
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
