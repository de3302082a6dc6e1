"""Every pruner of the catalogue can be chosen, and bad arguments are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lrsearch.cli.compose import load_settings
from lrsearch.errors import ConfigErrors
from lrsearch.registry import ComponentConfig
from lrsearch.tuning.pruners import PRUNERS, build_pruner
from lrsearch.tuning.pruners.rules import Halving, Hyperband, Patient, Percentile

CONF = Path(__file__).resolve().parents[3] / "conf" / "pruner"


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_yaml_builds(path: Path, mode: Any) -> None:
    arguments = yaml.safe_load(path.read_text())
    name = arguments.pop("name")
    assert name == path.stem
    build_pruner(ComponentConfig(name, arguments), 10, mode)


def test_every_pruner_has_its_yaml() -> None:
    assert {path.stem for path in CONF.glob("*.yaml")} == set(PRUNERS)


@pytest.mark.parametrize(
    ("name", "key"), [(name, key) for name in sorted(PRUNERS) for key in PRUNERS[name].parameters]
)
def test_every_parameter_is_taken(name: str, key: str) -> None:
    needed = {"upper": 9} if name == "threshold" else {}
    usual = build_pruner(ComponentConfig(name, needed), 10, "min")
    default = PRUNERS[name].parameters[key].default
    other = {**needed, key: 1 if default is None else default + 1}
    assert build_pruner(ComponentConfig(name, other), 10, "min") != usual


def test_the_defaults() -> None:
    median = Percentile("min", 50.0, n_startup_trials=5, n_warmup_steps=0)
    built = {
        name: build_pruner(ComponentConfig(name), 9, "min")
        for name in PRUNERS
        if name != "threshold"
    }
    assert built["median"] == median
    assert built["percentile"] == Percentile("min", 25.0, 5, 0)
    assert built["asha"] == Halving("min", min_resource=1, reduction_factor=4)
    assert built["hyperband"] == Hyperband("min", 9, min_resource=1, reduction_factor=3)
    assert built["patient"] == Patient(median, "min", patience=2, min_delta=0.0)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (["~pruner.upper"], "pruner: threshold needs pruner.lower, pruner.upper, or both"),
        (["+pruner.lower=11"], "pruner.lower: 11 is above pruner.upper, 10: swap them"),
    ],
)
def test_arguments_that_do_not_go_together_are_found_at_the_start(
    changes: list[str], problem: str
) -> None:
    with pytest.raises(ConfigErrors) as raised:
        load_settings(["+sweep=digits", "pruner=threshold", *changes])
    assert raised.value.problems == [problem]
