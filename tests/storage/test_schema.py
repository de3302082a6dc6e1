"""Tables are made and changed whole or not at all, by one process at a time."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from processes import at_one_instant, in_a_process
from sqlalchemy import Connection, Engine, event, inspect, text

from lrsearch.errors import UserError
from lrsearch.queue.queue import Queue
from lrsearch.storage.database import Database
from lrsearch.storage.engine import connect
from lrsearch.storage.optuna_bridge import Studies
from lrsearch.storage.schema import changing, migrate
from lrsearch.storage.tables import Base
from lrsearch.storage.upgrade import upgrade

KILLED = 42


def killed_at(moment: int, action: Callable[[], object]) -> bool:
    """Whether the process of an action came to that statement, commits included, and died there.

    Statements that only read are no such moments: nothing can be different after them.
    """

    def act() -> None:
        left = [moment]

        def count(*said: object) -> None:
            statement = said[2] if len(said) > 2 else "commit"
            if str(statement).lstrip().upper().startswith(("SELECT", "PRAGMA", "SET", "SHOW")):
                return
            left[0] -= 1
            if left[0] < 0:
                os._exit(KILLED)

        event.listen(Engine, "before_cursor_execute", count)
        event.listen(Engine, "commit", count)
        action()

    code = in_a_process(act)()
    assert code in (0, KILLED)
    return code == KILLED


# A migration of two steps: a table is made, filled from another and takes its place; columns,
# rows and an index change.


def to_2(connection: Connection) -> None:
    connection.execute(text("CREATE TABLE shapes_new (name TEXT PRIMARY KEY, area FLOAT NOT NULL)"))
    connection.execute(text("INSERT INTO shapes_new SELECT name, width * width FROM shapes"))
    connection.execute(text("DROP TABLE shapes"))
    connection.execute(text("ALTER TABLE shapes_new RENAME TO shapes"))


def to_3(connection: Connection) -> None:
    connection.execute(text("ALTER TABLE shapes ADD COLUMN kind TEXT"))
    connection.execute(text("UPDATE shapes SET kind = 'square', area = area + 1"))
    connection.execute(text("CREATE INDEX ix_shapes_kind ON shapes (kind)"))
    connection.execute(text("INSERT INTO shapes VALUES ('dot', 0, 'point')"))


def version(connection: Connection) -> int:
    return int(connection.scalar(text("SELECT version FROM numbers")) or 0)


def set_version(connection: Connection, number: int) -> None:
    connection.execute(text(f"UPDATE numbers SET version = {number}"))


def migrated(url: str) -> list[tuple[int, int]]:
    return migrate(url, {1: to_2, 2: to_3}, version, set_version)


def make_version_1(url: str) -> None:
    with changing(url) as connection:
        connection.execute(text("CREATE TABLE numbers (version INTEGER)"))
        connection.execute(text("INSERT INTO numbers VALUES (1)"))
        connection.execute(text("CREATE TABLE shapes (name TEXT PRIMARY KEY, width FLOAT)"))
        connection.execute(text("INSERT INTO shapes VALUES ('a', 2), ('b', 3)"))


def assert_is_version_3(url: str) -> None:
    engine = connect(url)
    with engine.connect() as connection:
        assert version(connection) == 3
        rows = connection.execute(text("SELECT name, area, kind FROM shapes ORDER BY name"))
        assert [tuple(row) for row in rows] == [
            ("a", 5.0, "square"), ("b", 10.0, "square"), ("dot", 0.0, "point"),
        ]  # fmt: skip
        assert set(inspect(connection).get_table_names()) == {"numbers", "shapes"}
    engine.dispose()


@pytest.fixture
def fresh_url(
    request: pytest.FixtureRequest, either_url: str, tmp_path: Path
) -> Callable[[int], str]:
    """A new database, of both kinds in turn, by a number from 0."""
    if either_url.startswith("sqlite"):
        return lambda number: f"sqlite:///{tmp_path / f'{number}.db'}"
    new_database: Callable[[], str] = request.getfixturevalue("new_database")
    return lambda _: new_database()


def test_a_migration_that_is_killed_at_any_statement_goes_on_as_if_nothing_had_been(
    fresh_url: Callable[[int], str],
) -> None:
    moment, was_killed = 0, True
    while was_killed:
        url = fresh_url(moment)
        make_version_1(url)
        was_killed = killed_at(moment, partial(migrated, url))
        migrated(url)
        assert_is_version_3(url)
        moment += 1
    assert moment > 10  # the statements of the steps, their versions, their commits
    assert migrated(url) == []


def test_of_two_migrations_at_once_each_step_is_taken_by_one(
    fresh_url: Callable[[int], str],
) -> None:
    for number in range(3):
        url = fresh_url(number)
        make_version_1(url)
        assert at_one_instant(3, partial(migrated, url)) == [0, 0, 0]
        assert_is_version_3(url)


def test_an_error_within_a_change_leaves_nothing(either_url: str) -> None:
    def fail_half_way() -> None:
        with changing(either_url) as connection:
            connection.execute(text("CREATE TABLE half (made INTEGER)"))
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half"):
        fail_half_way()
    engine = connect(either_url)
    assert inspect(engine).get_table_names() == []
    engine.dispose()


# The tables of a new database


def open_both(url: str) -> tuple[Studies, Database]:
    studies = Studies(url)
    return studies, Database(url, studies.engine)


def test_a_database_whose_making_is_killed_at_any_statement_is_made_by_the_next(
    tmp_path: Path,
) -> None:
    moment, was_killed = 0, True
    while was_killed:
        url = f"sqlite:///{tmp_path / f'{moment}.db'}"
        was_killed = killed_at(moment, partial(open_both, url))
        studies, database = open_both(url)
        assert studies.create("one", "min", "val_loss") == 1
        assert Queue(database.session, 1).total() == 0
        studies.close()
        moment += 10 if 5 < moment < 40 else 1  # each of its commits, a sample of its statements
    assert moment > 40


def test_processes_that_open_a_new_database_at_one_instant_share_it(
    fresh_url: Callable[[int], str],
) -> None:
    def open_and_create(url: str) -> None:
        studies, database = open_both(url)
        study_id = studies.create("the same", "min", "val_loss")
        assert Queue(database.session, study_id).total() == 0

    for number in range(4):
        url = fresh_url(number)
        assert at_one_instant(4, partial(open_and_create, url)) == [0] * 4
        engine = connect(url)
        with engine.connect() as connection:
            for table in ("studies", "lrsearch_version", "lrsearch_identity", "version_info"):
                assert connection.scalar(text(f"SELECT count(*) FROM {table}")) == 1
        engine.dispose()


@pytest.mark.parametrize(
    ("definition", "named"),
    [
        ("CREATE TABLE studies (id INTEGER, title TEXT)", "'studies'"),
        ("CREATE TABLE trials (trial_id INTEGER)", "'trials'"),
        ("CREATE TABLE lrsearch_units (note TEXT)", "'lrsearch_units'"),
        ("CREATE VIEW studies AS SELECT 1 AS id", "'studies'"),
        ("CREATE TABLE alembic_version (version_num VARCHAR(32))", "'alembic_version'"),
    ],
)
def test_a_database_of_another_program_is_refused_and_left_as_it_is(
    either_url: str, definition: str, named: str
) -> None:
    with changing(either_url) as connection:
        connection.execute(text(definition))
        if "alembic_version" in definition:
            connection.execute(text("INSERT INTO alembic_version VALUES ('3f2a')"))
        before = inspect(connection).get_table_names()
    with pytest.raises(UserError, match=f"another program.*{named}"):
        open_both(either_url)
    engine = connect(either_url)
    assert inspect(engine).get_table_names() == before
    engine.dispose()


def test_tables_of_other_names_are_no_hindrance(either_url: str) -> None:
    with changing(either_url) as connection:
        connection.execute(text("CREATE TABLE bills (id INTEGER)"))
    studies, database = open_both(either_url)
    assert set(Base.metadata.tables) < set(inspect(database.engine).get_table_names())
    studies.close()


@pytest.mark.slow
def test_optunas_tables_of_an_older_version_are_upgraded_whatever_kills_it(tmp_path: Path) -> None:
    def make_older(url: str) -> None:
        studies, _ = open_both(url)
        studies.create("kept", "min", "val_loss")
        studies.close()
        with changing(url) as connection:  # what Optuna's last step has added
            connection.execute(text("DROP INDEX ix_trials_study_id"))
            connection.execute(text("UPDATE alembic_version SET version_num = 'v3.0.0.d'"))

    moment, was_killed = 0, True
    while was_killed:
        url = f"sqlite:///{tmp_path / f'{moment}.db'}"
        make_older(url)
        with pytest.raises(UserError, match="python -m lrsearch upgrade"):
            Studies(url)
        was_killed = killed_at(moment, partial(upgrade, url))
        upgrade(url)
        studies = Studies(url)
        assert studies.find("kept") == 1
        indices = inspect(studies.engine).get_indexes("trials")
        assert "trials_study_id_key" in {index["name"] for index in indices}
        studies.close()
        moment += 1
    assert moment > 3
