"""Every command that is printed can be pasted, whatever the study is called and wherever it is."""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from command_line import Command
from pasted_commands import pasted

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
