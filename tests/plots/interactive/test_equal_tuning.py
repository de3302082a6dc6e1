"""Figures of the comparisons at equal tuning."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from synthetic import optimizers_of, recipe, schedulers_of, study_of, trial

from lrsearch.analysis.families import EqualTuning
from lrsearch.analysis.study_data import StudyData
from lrsearch.plots.interactive.equal_tuning import heat_map, option_boxes
from lrsearch.report import captions


def searched(*optimizers: str, schedulers: int = 3, each: int = 4) -> StudyData:
    """A study with `each` trials of the first schedulers with each optimizer."""
    names = ["cosine", "linear", "step", "constant"][:schedulers]
    return study_of(
        [
            trial(
                100 * o + 10 * s + k,
                recipe(0.01 + k / 1000, scheduler=name, optimizer=optimizer),
                0.1 + o / 10 + s / 100 + k / 1000,
            )
            for o, optimizer in enumerate(optimizers)
            for s, name in enumerate(names)
            for k in range(each)
        ]
    )


def two_optimizers_of(study: StudyData) -> EqualTuning:
    found = optimizers_of(study, ["sgd", "adamw"])
    assert found is not None
    return found


def drawn(figure: Any) -> Any:
    assert figure is not None
    return json.loads(figure.to_json())


def test_the_expected_best_of_each_option_is_marked_with_its_interval() -> None:
    found = schedulers_of(searched("sgd"))
    *boxes, marks = drawn(option_boxes(found))["data"]
    assert {box["name"] for box in boxes} == set(marks["y"]) == {"cosine", "linear", "step"}
    (comparison,) = found.comparisons
    for name, x, below in zip(marks["y"], marks["x"], marks["error_x"]["arrayminus"], strict=True):
        option = next(option for option in comparison.options if option.name == name)
        assert option.expected is not None
        assert x == pytest.approx(option.expected.value, rel=1e-3)
        assert 0 <= below <= option.expected.value - option.expected.low + 1e-4


def test_options_of_several_optimizers_are_told_apart() -> None:
    figure = drawn(option_boxes(schedulers_of(searched("sgd", "adamw"))))
    names = [trace.get("name") for trace in figure["data"]]
    assert {"sgd, cosine", "adamw, cosine"} <= set(names)


def test_the_figure_stays_readable_with_many_options() -> None:
    optimizers = ["adam", "adamax", "adamw", "adagrad", "nadam", "radam", "rmsprop", "sgd"]
    study = searched(*optimizers, schedulers=4)
    boxes = [trace for trace in drawn(option_boxes(schedulers_of(study)))["data"]
             if trace["type"] == "box"]  # fmt: skip
    assert 0 < len(boxes) <= 30


def test_a_cell_of_the_heat_map_is_the_expected_best_of_an_optimizer_with_a_scheduler() -> None:
    found = two_optimizers_of(searched("sgd", "adamw", each=2))
    figure = drawn(heat_map(found))
    (cells,) = figure["data"]
    assert cells["x"] == ["adamw", "sgd"]
    assert set(cells["y"]) == {"step", "cosine", "linear"}
    place = dict(zip(cells["y"], cells["z"], strict=True))["cosine"][cells["x"].index("sgd")]
    assert place == 0, "the best has place 0"
    text = dict(zip(cells["y"], cells["text"], strict=True))["step"][cells["x"].index("adamw")]
    assert text == "0.22"


def test_the_caption_of_the_heat_map_tells_of_cells_with_fewer_trials() -> None:
    found = two_optimizers_of(searched("sgd", "adamw", each=2))
    assert found is not None
    assert "single one" not in captions.heat_map(found)
    cells = (replace(found.cells[0], tries=1), *found.cells[1:])
    assert "of a single one where" in captions.heat_map(replace(found, cells=cells))


def test_without_two_of_each_there_is_no_heat_map() -> None:
    assert heat_map(two_optimizers_of(searched("sgd"))) is None
    assert heat_map(two_optimizers_of(searched("sgd", "adamw", schedulers=1))) is None
    assert heat_map(None) is None


def test_one_optimizer_alone_has_no_boxes_to_compare() -> None:
    assert option_boxes(two_optimizers_of(searched("sgd"))) is None
    assert option_boxes(None) is None
    assert option_boxes(schedulers_of(study_of([], total=2))) is None
