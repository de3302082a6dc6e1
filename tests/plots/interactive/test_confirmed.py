"""The figure of a confirmation's runs by seed."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from lrsearch.confirm.result import Confirmation, Run
from lrsearch.plots.interactive.confirmed import runs_by_seed

pytest.importorskip("plotly")

FOUND = Confirmation(
    "val_loss", "min", {4: 0.1, 9: 0.2}, 20,
    [Run(4, 11, "done", "complete", 0.3), Run(9, 11, "done", "complete", 0.21),
     Run(4, 12, "done", "dropped"), Run(9, 12, "done", "complete", 0.22)], None,
)  # fmt: skip


def drawn(found: Confirmation) -> dict[str, Any]:
    return dict(json.loads(runs_by_seed(found).to_json()))  # type: ignore[union-attr]


def test_each_candidate_has_a_line_over_its_seeds_and_a_mean_with_an_interval() -> None:
    figure = drawn(FOUND)
    lines = {one["name"]: one for one in figure["data"] if one.get("name")}
    assert lines["trial 9"]["x"] == ["in the search", "seed 1", "seed 2"]
    assert lines["trial 9"]["y"] == [0.2, 0.21, 0.22]
    assert lines["trial 4"]["x"] == ["in the search", "seed 1"]
    means = [one for one in figure["data"] if not one.get("name")]
    assert len(means) == 2
    assert [one["x"] for one in means] == [["mean of 9"], ["mean of 4"]]
    for one in means:
        assert one["error_y"]["array"][0] > 0
        assert "95 % interval" in one["hovertemplate"]
        assert "over training seeds" in one["hovertemplate"]
    assert figure["layout"]["xaxis"]["categoryarray"] == [
        "in the search", "seed 1", "seed 2", "mean of 9", "mean of 4",
    ]  # fmt: skip


def test_a_candidate_has_one_colour() -> None:
    shades: dict[str, set[str]] = {}
    for one in drawn(FOUND)["data"]:
        shade = one["marker"].get("color") or one["line"]["color"]
        shades.setdefault(one["legendgroup"], set()).add(shade)
    assert [len(colours) for colours in shades.values()] == [1, 1]
    assert set.intersection(*shades.values()) == set()


def test_there_is_none_before_the_first_run_has_ended() -> None:
    waiting = [Run(4, 11, "open"), Run(9, 11, "running")]
    assert runs_by_seed(dataclasses.replace(FOUND, runs=waiting)) is None
    assert runs_by_seed(None) is None


def test_the_mean_of_a_single_run_has_no_interval() -> None:
    once = dataclasses.replace(FOUND, search_values={4: 0.1}, runs=FOUND.runs[:1])
    (mean,) = [one for one in drawn(once)["data"] if not one.get("name")]
    assert "array" not in mean.get("error_y", {})
