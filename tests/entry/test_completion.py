"""Completion, in a real shell."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Command

from lrsearch.entry.catalogue import find_sweeps
from lrsearch.entry.commands import SHOWN

Complete = Callable[..., list[str]]


@pytest.fixture
def complete(command: Command, tmp_path: Path, environment: dict[str, str]) -> Complete:
    """What bash offers for a line, as readline asks for it."""
    bash = shutil.which("bash")
    assert bash is not None
    (tmp_path / "completion.bash").write_text(command("completion", "bash")[1])
    program = tmp_path / "bin" / "lrsearch"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m lrsearch "$@"\n')
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{environment.get('PATH', '')}"

    def ask(line: str, **extra: str) -> list[str]:
        script = (
            "source completion.bash; "
            "function=$(complete -p lrsearch | sed 's/.*-F \\([^ ]*\\).*/\\1/'); "
            'COMP_LINE=$1 COMP_POINT=${#1}; COMP_WORDS=($1); "$function" lrsearch; '
            'printf "%s\\n" "${COMPREPLY[@]}"'
        )
        done = subprocess.run(
            [bash, "-c", script, "bash", line],
            cwd=tmp_path,
            env={**environment, "PATH": path, **extra},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        return done.stdout.split("\n")[:-1]

    return ask


def test_commands_and_sweeps_come_first(complete: Complete) -> None:
    found = complete("lrsearch ")
    assert {"run", "submit", "best", "try", "+sweep=mnist"} <= set(found)
    assert "complete" not in found
    assert complete("lrsearch comp") == ["compare", "completion"]


def test_a_sweep_is_completed_behind_its_equals_sign(complete: Complete) -> None:
    assert complete("lrsearch +sweep=mn") == ["mnist"]
    assert complete("lrsearch submit +sw") == [f"+sweep={name}" for name in find_sweeps()]
    assert complete("lrsearch submit +sweep=mnist ") == [""]


@pytest.mark.parametrize(
    "name",
    ["best", "pause", *(pytest.param(one, marks=pytest.mark.slow) for one in ("show", "try"))],
)
def test_studies_are_completed(complete: Complete, swept: Path, name: str) -> None:
    assert complete(f"lrsearch {name} di") == ["digits"]


def test_studies_are_those_of_the_database(complete: Complete, swept: Path) -> None:
    url = f"sqlite:///{swept / 'lrsearch.db'}"
    assert complete("lrsearch best ", LRSEARCH_STORAGE=url) == ["digits"]
    assert complete("lrsearch best digits ") == [""]


@pytest.mark.parametrize(
    "url", ["sqlite:////nowhere/x.db", "nonsense", "postgresql://me@127.0.0.1:1/x"]
)
def test_a_database_that_cannot_be_read_offers_nothing_and_says_nothing(
    complete: Complete, url: str
) -> None:
    assert complete("lrsearch best ", LRSEARCH_STORAGE=url) == [""]


def test_options_are_those_of_the_command(complete: Complete) -> None:
    assert complete("lrsearch best digits --fo") == ["--format"]
    assert "--now" in complete("lrsearch stop digits --")


def test_there_is_a_script_for_each_shell_and_no_other(command: Command) -> None:
    for shell in ("bash", "zsh", "fish"):
        code, out, _ = command("completion", shell)
        assert code == 0
        assert "lrsearch complete --" in out or '" complete --' in out
    code, _, error = command("completion", "zhs")
    assert code == 2
    assert "did you mean zsh?" in error
    assert {"best", "try", "completion"} <= set(SHOWN)


def test_sweeps_are_listed_for_people_and_for_programs(command: Command) -> None:
    code, out, _ = command("sweeps")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[1:]] == list(find_sweeps())
    listed = json.loads(command("sweeps", "--json")[1])
    assert {one["name"]: one["description"] for one in listed} == {
        name: sweep.description for name, sweep in find_sweeps().items()
    }
