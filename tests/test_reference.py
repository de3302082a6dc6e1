"""The reference pages name what is there: options, sweeps, keys, commands, versions."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from documentation import REPO

from lrsearch import __version__
from lrsearch.cli.catalogue import find_sweeps
from lrsearch.cli.commands import SHOWN
from lrsearch.schedules.families import SCHEDULERS
from lrsearch.text.hints import word

DOCS = REPO / "docs"
DEFAULTS = (REPO / "conf" / "config.yaml").read_text()


def row(text: str, name: str) -> str:
    """The row of a table that begins with a name."""
    (found,) = re.findall(rf"^\| `{re.escape(name)}` \| .*$", text, re.MULTILINE)
    return str(found)


@pytest.mark.parametrize("group", ["data", "logger", "model", "pruner", "sampler", "space"])
def test_every_option_of_a_group_is_named(group: str) -> None:
    text = (DOCS / "catalogue.md").read_text()
    for file in (REPO / "conf" / group).glob("*.yaml"):
        names = (f"`{file.stem}`", f"`{group}={file.stem}`", f"{group}: {file.stem}\n")
        assert any(name in text + DEFAULTS for name in names), file.stem


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
        default = (config[section] or {}).get(key)
        if isinstance(default, (int, float, str)) and "$" not in str(default):
            assert shown.strip() == word(default), f"{section}.{key}"
            checked += 1
    assert checked >= 5


def test_the_version_is_the_same_everywhere() -> None:
    citation = yaml.safe_load((REPO / "CITATION.cff").read_text())
    latest = re.findall(r"^## \[(\S+)\] - (\S+)$", (REPO / "CHANGELOG.md").read_text(), re.M)[0]
    assert (citation["version"], str(citation["date-released"])) == latest
    assert latest[0] == __version__


def test_every_command_that_is_explained_is_one() -> None:
    text = (DOCS / "commands.md").read_text()
    named = re.findall(r"^\| (?:`[^`]*`(?:, )?)+", text, re.MULTILINE)
    words = {word for row in named for word in re.findall(r"`([a-z][\w-]*)", row)}
    assert words - {"zsh", "fish"} <= set(SHOWN)
