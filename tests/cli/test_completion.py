"""Completion, in a real shell."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Command

from lrsearch.cli.catalogue import find_sweeps
from lrsearch.cli.commands import SHOWN
from lrsearch.cli.completion import VARIABLE

Complete = Callable[..., list[str]]


@pytest.fixture
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the program `lrsearch`."""
    program = tmp_path_factory.mktemp("bin") / "lrsearch"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m lrsearch "$@"\n')
    program.chmod(0o755)
    return program.parent


@pytest.fixture
def path(programs: Path, environment: dict[str, str]) -> str:
    """The PATH of a user who has installed lrsearch."""
    return f"{programs}{os.pathsep}{environment.get('PATH', '')}"


@pytest.fixture
def complete(
    command: Command, tmp_path: Path, environment: dict[str, str], programs: Path, path: str
) -> Complete:
    """Completes the last word of a line in bash, at a terminal; all that it may become."""
    script = programs / "completion.bash"
    script.write_text(command("completion", "bash")[1])
    rc = programs / "rc"
    rc.write_text(f"source {script}\nbind 'set enable-bracketed-paste off'\nPS1='READY '\n")

    def ask(line: str, **extra: str) -> list[str]:
        # Escape and * insert all completions; then the line is printed word by word.
        keys = f"{line}\x1b*\x01printf '<%s>\\n' \x05; exit\n"
        shown = typed_in_bash(
            rc, keys, tmp_path, {**environment, "PATH": path, "TERM": "dumb", **extra}
        )
        words = re.findall(r"^<(.*)>\r$", shown, re.MULTILINE)
        return words[len(line.split()) - (not line.endswith(" ")) :]

    return ask


def typed_in_bash(rc: Path, keys: str, folder: Path, environment: dict[str, str]) -> str:
    """What an interactive bash shows once these keys have been typed at its prompt."""
    bash = shutil.which("bash")
    assert bash is not None
    ours, terminal = pty.openpty()
    with subprocess.Popen(
        [bash, "--noprofile", "--rcfile", str(rc), "-i"],
        cwd=folder,
        env=environment,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    ):
        os.close(terminal)
        shown = b""
        while not shown.endswith(b"READY "):
            shown += os.read(ours, 4096)
        os.write(ours, keys.encode())
        with contextlib.suppress(OSError):  # the shell has ended
            while True:
                shown += os.read(ours, 4096)
    os.close(ours)
    return shown.decode()


def test_commands_and_sweeps_come_first(complete: Complete) -> None:
    assert set(complete("lrsearch ")) == {*SHOWN, *(f"+sweep={name}" for name in find_sweeps())}
    assert complete("lrsearch comp") == ["compare", "completion"]


def test_a_sweep_is_completed_behind_its_equals_sign(complete: Complete) -> None:
    assert complete("lrsearch +sweep=mn") == ["+sweep=mnist"]
    assert complete("lrsearch submit +sw") == [f"+sweep={name}" for name in find_sweeps()]


def test_settings_are_completed_by_the_catalogue_and_the_defaults(complete: Complete) -> None:
    assert complete("lrsearch +sweep=mnist model=mlp_") == ["model=mlp_small"]
    assert complete("lrsearch doctor study.n_") == ["study.n_trials=30"]
    assert complete("lrsearch +sweep=mnist +sw") == ["+sw"], "one sweep is enough"


@pytest.mark.parametrize(
    "name",
    ["best", "pause", *(pytest.param(one, marks=pytest.mark.slow) for one in ("show", "try"))],
)
def test_studies_are_completed(complete: Complete, swept: Path, name: str) -> None:
    assert complete(f"lrsearch {name} di") == ["digits"]


def test_studies_are_those_of_the_database(complete: Complete, swept: Path) -> None:
    url = f"sqlite:///{swept / 'lrsearch.db'}"
    assert complete("lrsearch best ", LRSEARCH_STORAGE=url) == ["digits"]
    assert "digits" not in complete("lrsearch best digits ")[1:]


@pytest.mark.parametrize(
    "url", ["sqlite:////nowhere/x.db", "nonsense", "postgresql://me@127.0.0.1:1/x"]
)
def test_a_database_that_cannot_be_read_offers_nothing_and_says_nothing(
    complete: Complete, url: str
) -> None:
    assert complete("lrsearch best ", LRSEARCH_STORAGE=url) == []


def test_options_are_those_of_the_command(complete: Complete) -> None:
    assert complete("lrsearch best digits --fo") == ["--format"]
    assert complete("lrsearch stop digits --") == ["--help", "--now"]


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish")
def test_fish_completes_the_same(
    command: Command, tmp_path: Path, environment: dict[str, str], path: str
) -> None:
    (tmp_path / "script.fish").write_text(command("completion", "fish")[1])
    code = 'source script.fish; complete --do-complete "lrsearch +sweep=mn"'
    done = subprocess.run(
        ["fish", "--no-config", "--command", code],
        cwd=tmp_path, env={**environment, "PATH": path}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["+sweep=mnist"]


def test_there_is_a_script_for_each_shell_and_no_other(command: Command) -> None:
    for shell in ("bash", "zsh", "fish"):
        code, out, _ = command("completion", shell)
        assert code == 0
        assert f"complete_{shell}" in out
    code, _, error = command("completion", "zhs")
    assert code == 2
    assert "'zsh'" in error
    assert {"best", "try", "completion"} <= set(SHOWN)


def test_completing_imports_nothing_heavy(
    tmp_path: Path, environment: dict[str, str], swept: Path
) -> None:
    code = (
        "import sys, atexit; from lrsearch.cli.main import main; heavy = ('torch', 'optuna',"
        "'hydra', 'scipy', 'sklearn', 'plotly'); atexit.register(lambda: print("
        "[name for name in heavy if name in sys.modules])); main([])"
    )
    for words in ("lrsearch best ", "lrsearch +sweep = mn", "lrsearch mod"):
        asked = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**environment, **asked, VARIABLE: "complete_bash"},
            cwd=tmp_path, capture_output=True, text=True, check=True,
        )  # fmt: skip
        *offered, imported = done.stdout.splitlines()
        assert offered
        assert imported == "[]"


def test_sweeps_are_listed_for_people_and_for_programs(command: Command) -> None:
    code, out, _ = command("sweeps")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[1:]] == list(find_sweeps())
    listed = json.loads(command("sweeps", "--json")[1])
    assert {one["name"]: one["description"] for one in listed} == {
        name: sweep.description for name, sweep in find_sweeps().items()
    }
