"""The file of a SQLite database: opened whatever it allows, never made or changed by a reader."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import inspect

from lrsearch.errors import UserError
from lrsearch.storage.database import Database, open_existing
from lrsearch.storage.engine import connect
from lrsearch.storage.optuna_bridge import Studies
from lrsearch.storage.sqlite import DatabaseReplaced, open_file
from lrsearch.storage.tables import StudyRow
from lrsearch.storage.upgrade import upgrade
from lrsearch.study.index import StudyIndex

NOBODY = 65534
ROOTS_POWER = os.geteuid() == 0


@pytest.fixture
def anybody() -> Iterator[None]:
    """For a while the user of these tests is one for whom permissions count."""
    if ROOTS_POWER:
        os.seteuid(NOBODY)
    yield
    if ROOTS_POWER:
        os.seteuid(0)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that any user can come to, unlike pytest's."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)


@pytest.fixture
def stored(folder: Path) -> str:
    """A database with one study, in a folder that may not be written to."""
    url = f"sqlite:///{folder / 'lrsearch.db'}"
    database = Database(url)
    with database.session.begin() as session:
        session.add(
            StudyRow(study_id=1, name="kept", config={}, record={"checkpoints": "checkpoints"})
        )
    database.close()
    (folder / "lrsearch.db").chmod(0o444)
    folder.chmod(0o555)
    return url


def names(url: str) -> list[str]:
    database = open_existing(url)
    studies = StudyIndex(database.session).statuses()
    database.close()
    return [study.name for study in studies]


@pytest.mark.parametrize("modes", [(0o555, 0o444), (0o555, 0o666), (0o777, 0o444)])
def test_what_may_not_be_written_to_is_read(
    stored: str, folder: Path, modes: tuple[int, int], request: pytest.FixtureRequest
) -> None:
    folder.chmod(modes[0])
    (folder / "lrsearch.db").chmod(modes[1])
    request.getfixturevalue("anybody")
    assert names(stored) == ["kept"]
    assert [one.name for one in folder.iterdir()] == ["lrsearch.db"]


@pytest.mark.usefixtures("anybody")
def test_whoever_has_to_write_to_it_is_told_that_he_may_not(folder: Path, stored: str) -> None:
    actions: list[Callable[[str], object]] = [Database, Studies, upgrade]
    for action in actions:
        with pytest.raises(UserError, match="may not be written to"):
            action(stored)


def test_a_log_that_was_not_written_back_is_not_left_out(
    folder: Path, stored: str, request: pytest.FixtureRequest
) -> None:
    folder.chmod(0o755)
    (folder / "lrsearch.db").chmod(0o644)
    database = Database(stored)
    with database.session.begin() as session:
        session.add(
            StudyRow(study_id=2, name="late", config={}, record={"checkpoints": "checkpoints"})
        )
    folder.chmod(0o555)  # while a sweep goes on there
    request.getfixturevalue("anybody")
    assert names(stored) == ["kept", "late"]
    database.close()


@pytest.mark.usefixtures("anybody")
def test_a_file_that_may_not_be_read_is_said_to_be_so(folder: Path, stored: str) -> None:
    if ROOTS_POWER:
        os.seteuid(0)
    (folder / "lrsearch.db").chmod(0o000)
    if ROOTS_POWER:
        os.seteuid(NOBODY)
    with pytest.raises(UserError, match="may not be read"):
        open_existing(stored)


def test_a_reader_never_makes_a_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no database"):
        open_existing(f"sqlite:///{tmp_path / 'none.db'}")
    with pytest.raises(DatabaseReplaced):
        open_file(tmp_path / "none.db")
    assert list(tmp_path.iterdir()) == []


def a_text(file: Path) -> None:
    file.write_text("this is not a database, but a text")


def a_folder(file: Path) -> None:
    file.mkdir()


def truncated(file: Path) -> None:
    Database(f"sqlite:///{file}").close()
    os.truncate(file, 6000)


def nothing(file: Path) -> None:
    file.touch()


def of_another_program(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE studies (id INTEGER, title TEXT)")


GARBAGE = [
    (a_text, "not a database"),
    (a_folder, "is not a file"),
    (truncated, "malformed"),
    (nothing, "has no tables of lrsearch"),
    (of_another_program, "has no tables of lrsearch"),
]


@pytest.mark.parametrize(("make", "said"), GARBAGE)
def test_what_is_no_database_of_lrsearch_is_refused_in_words_and_left_as_it_is(
    tmp_path: Path, make: Callable[[Path], None], said: str
) -> None:
    file = tmp_path / "garbage.db"
    make(file)
    before = None if file.is_dir() else file.read_bytes()
    actions: list[Callable[[str], object]] = [open_existing, upgrade]
    for action in actions:
        with pytest.raises(UserError, match=said):
            action(f"sqlite:///{file}")
    if said != "has no tables of lrsearch":  # an empty one a sweep may use
        for action in (Database, Studies):
            with pytest.raises(UserError, match=said):
                action(f"sqlite:///{file}")
    assert before is None or file.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["garbage.db"]


def test_a_sweep_makes_its_tables_in_an_empty_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'empty.db'}"
    (tmp_path / "empty.db").touch()
    Studies(url).close()
    Database(url).close()
    assert names(url) == []


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"no folder {tmp_path / 'none'}"):
        Studies(f"sqlite:///{tmp_path / 'none' / 'x.db'}")


def test_a_name_with_marks_of_urls_is_one_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'what%3F #%25.db'}"
    Database(url).close()
    assert [one.name for one in tmp_path.iterdir()] == ["what? #%.db"]
    engine = connect(url)
    assert inspect(engine).has_table("lrsearch_studies")
    engine.dispose()
