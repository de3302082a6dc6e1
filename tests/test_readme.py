"""The README says what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from lrsearch.entry.catalogue import find_sweeps
from lrsearch.entry.compose import load_settings
from lrsearch.optimizers import OPTIMIZERS
from lrsearch.pruning.catalogue import PRUNERS
from lrsearch.samplers import SAMPLERS
from lrsearch.schedules.families import FAMILIES

REPO = Path(__file__).resolve().parent.parent
TEXT = (REPO / "README.md").read_text()


@pytest.mark.parametrize("name", list(FAMILIES))
def test_the_table_of_schedulers_has_every_family_parameter_and_default(name: str) -> None:
    (row,) = [line for line in TEXT.splitlines() if line.startswith(f"| `{name}` | ")][:1]
    for parameter, known in FAMILIES[name].parameters.items():
        assert f"`{parameter}`" in row
        if isinstance(known.default, (str, int, float)):
            assert f"`{parameter}` ({known.default})" in row


def test_every_part_and_sweep_is_named() -> None:
    for name in (*OPTIMIZERS, *SAMPLERS, *PRUNERS):
        assert re.search(rf"\b{name}\b", TEXT), name
    for name in find_sweeps():
        assert f"| `{name}` |" in TEXT


def test_the_sweep_that_is_shown_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (shown,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "mine.yaml").write_text(shown)
    monkeypatch.chdir(tmp_path)
    checked = load_settings(["+sweep=mine"])
    assert checked.description == yaml.safe_load(shown)["description"]
    assert set(checked.space.optimizer) == {"sgd", "adamw", "rmsprop"}


def test_every_command_that_is_shown_composes() -> None:
    commands = re.findall(r"^\$ python -m lrsearch (\+sweep\S.*?)(?:  #|$)", TEXT, re.MULTILINE)
    assert len(commands) >= 3
    for command in commands:
        assert load_settings(command.split()).sweep in find_sweeps()


def test_every_file_that_is_mentioned_exists() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (REPO / target).exists(), target


def test_the_defaults_in_the_table_of_keys_are_those_of_the_configuration() -> None:
    config = yaml.safe_load((REPO / "conf" / "config.yaml").read_text())
    assert f"| {config['study']['n_trials']} |" in TEXT
    assert f"| {config['train']['epochs']} |" in TEXT
    assert config["storage"]["url"].endswith("sqlite:///lrsearch.db}")
