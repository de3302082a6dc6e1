"""Commands that are printed mean the same after a shell has read them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pasted_commands import pasted
from typer.testing import CliRunner

from lrsearch.cli.arguments import split_locations, worker_advice
from lrsearch.cli.commands import app
from lrsearch.cli.locations import read_locations
from lrsearch.cli.run import longer
from lrsearch.config.storage import DEFAULT_URL
from lrsearch.text.shell import command, name_word
from lrsearch.workers.assignment import Assignment
from lrsearch.workers.exit_codes import ExitCode

HOSTILE = ["a b", "$HOME", "a!b", "[a]", "it's", '"q"', "a;b", "`id`", "$(id)", "*", "~", "a\\b",
           "größe", "a\nb", "#x", "a&b", "(a)", "<a>", "{a,b}"]  # fmt: skip


def test_a_command_is_pasted_as_it_was_meant() -> None:
    lines = [command("status", name, f"space.x={name}") for name in HOSTILE]
    for name, line in zip(HOSTILE, lines, strict=True):
        assert pasted(line) == ["-m", "lrsearch", "status", name, f"space.x={name}"]


def test_a_command_with_more_time_stays_quoted() -> None:
    for name in HOSTILE:
        line = longer(command("+sweep=digits", f"study.name={name}", "study.timeout=3"), 3.0, 1.0)
        want = ["-m", "lrsearch", "+sweep=digits", f"study.name={name}", "study.timeout=6"]
        assert pasted(line) == want


@pytest.mark.parametrize("name", ["lr=0.1", "-x", "--help", "", "a.yaml", "study.name=x", *HOSTILE])
def test_every_study_can_be_named(name: str) -> None:
    _, names = read_locations([name_word(name)])
    assert names == [name]
    mine, others = split_locations([name_word(name), "lr=0.1"])
    assert (read_locations(mine)[1], others) == ([name], ["lr=0.1"])


@pytest.mark.parametrize("name", ["-x", "lr=0.1", "a b"])
def test_a_worker_serves_a_study_of_any_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[tuple[object, ...]] = []

    def serve_studies(*given: object) -> ExitCode:
        served.append(given)
        return ExitCode.DONE

    monkeypatch.setattr("lrsearch.cli.locations.serve_studies", serve_studies)
    line = worker_advice(name, DEFAULT_URL).partition("to start one: ")[2]
    assert CliRunner().invoke(app, pasted(line)[2:]).exit_code == 0
    [(_, assignment, *_)] = served
    assert assignment == Assignment((name,), until_empty=True)


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_name_word_is_read_back(name: str) -> None:
    assert read_locations([name_word(name)])[1] == [name]
