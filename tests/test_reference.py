"""The reference pages name what is there: parts, parameters, defaults, keys, commands, versions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
import yaml
from documentation import REPO

from lrsearch import __version__
from lrsearch.cli.catalogue import find_sweeps
from lrsearch.cli.commands import SHOWN
from lrsearch.data.sources import SOURCES
from lrsearch.launchers import LAUNCHERS
from lrsearch.loggers import LOGGERS
from lrsearch.measures import LOSSES, METRICS
from lrsearch.models import MODELS
from lrsearch.objectives import OBJECTIVES
from lrsearch.optimizers import OPTIMIZERS
from lrsearch.parameters.parameter import Parameter
from lrsearch.schedules.families import SCHEDULERS
from lrsearch.tuning.pruners import PRUNERS
from lrsearch.tuning.samplers import SAMPLERS

DOCS = REPO / "docs"
CATALOGUE = (DOCS / "catalogue.md").read_text()


def row(text: str, name: str) -> str:
    """The row of a table that begins with a name."""
    (found,) = re.findall(rf"^\| `{re.escape(name)}` \| .*$", text, re.MULTILINE)
    return str(found)


def under(title: str, text: str = CATALOGUE) -> str:
    """What stands under a heading of the second level."""
    (found,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return str(found)


def check_parameters(text: str, parameters: Mapping[str, Parameter]) -> None:
    """Each parameter stands in a row with its default, where that is one value."""
    for name, parameter in parameters.items():
        assert f"`{name}`" in text
        if isinstance(parameter.default, (str, int, float)):
            assert f"`{name}` ({parameter.default})" in text


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_table_of_schedulers_has_every_parameter_and_default(name: str) -> None:
    check_parameters(row((DOCS / "schedulers.md").read_text(), name), SCHEDULERS[name].parameters)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_table_of_optimizers_has_every_parameter_and_default(name: str) -> None:
    check_parameters(row(under("Optimizers"), name), OPTIMIZERS[name].parameters)


def options(group: str) -> list[str]:
    """What a group of the configuration can be."""
    return [file.stem for file in (REPO / "conf" / group).glob("*.yaml")]


@pytest.mark.parametrize(
    ("title", "names"),
    [
        ("Samplers", SAMPLERS),
        ("Pruners", PRUNERS),
        ("Models", [*MODELS, *options("model")]),
        ("Data", [*SOURCES, *options("data")]),
        ("Loggers", LOGGERS),
        ("Objectives", OBJECTIVES),
        ("Launchers", LAUNCHERS),
        ("Spaces", options("space")),
    ],
)
def test_the_table_of_a_group_has_what_can_be_named_and_nothing_else(
    title: str, names: Iterable[str]
) -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", under(title), re.MULTILINE)) == set(names)


def test_every_loss_and_metric_is_named() -> None:
    assert {*LOSSES, *METRICS} <= set(re.findall(r"`(\w+)`", under("Losses and metrics")))


def test_every_sweep_is_listed() -> None:
    text = (DOCS / "sweeps.md").read_text()
    for name in find_sweeps():
        assert row(text, name)


def test_every_command_is_explained() -> None:
    text = (DOCS / "commands.md").read_text()
    for name in SHOWN:
        assert re.search(rf"^\| .*`{name}\b.*` ?.*\| ", text, re.MULTILINE), name


def test_the_number_of_scheduler_families_is_right_wherever_it_is_said() -> None:
    for page in (REPO / "README.md", DOCS / "comparison.md"):
        said = re.findall(r"(\w+) (?:scheduler )?families", page.read_text())
        assert said, page
        assert set(said) <= {str(len(SCHEDULERS)), "Sixteen" if len(SCHEDULERS) == 16 else "?"}


def test_the_defaults_in_the_table_of_keys_are_those_of_the_configuration() -> None:
    text = (DOCS / "configuration.md").read_text()
    config: dict[str, Any] = yaml.safe_load((REPO / "conf" / "config.yaml").read_text())
    rows = re.findall(r"^\| `(\w+)\.(\w+)` \| .* \| `?([^|`]+)`? \|$", text, re.MULTILINE)
    checked = 0
    for section, key, shown in rows:
        default = config[section][key]
        if isinstance(default, (int, float, str)) and "$" not in str(default):
            assert shown.strip() == str(default), f"{section}.{key}"
            checked += 1
    assert checked >= 5


def test_the_version_is_the_same_everywhere() -> None:
    citation = yaml.safe_load((REPO / "CITATION.cff").read_text())
    latest = re.findall(r"^## \[(\S+)\] - (\S+)$", (REPO / "CHANGELOG.md").read_text(), re.M)[0]
    assert (citation["version"], str(citation["date-released"])) == latest
    assert latest[0] == __version__
