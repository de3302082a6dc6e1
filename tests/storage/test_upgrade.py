"""An older database is brought up to date by a command that says so."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, inspect, text, update

from lrsearch.errors import UserError
from lrsearch.storage.database import Database
from lrsearch.storage.engine import connect
from lrsearch.storage.optuna_bridge import Studies
from lrsearch.storage.schema import changing
from lrsearch.storage.tables import SCHEMA_VERSION, IdentityRow, VersionRow
from lrsearch.storage.upgrade import upgrade

# A version before the first one, and the step from it, as a later version would have it: a column
# of the studies is missing, which is filled from another one.
OLD = SCHEMA_VERSION - 1


def to_current(connection: Connection) -> None:
    connection.execute(text("ALTER TABLE lrsearch_studies ADD COLUMN priority INTEGER"))
    connection.execute(text("UPDATE lrsearch_studies SET priority = finished + 1"))


MIGRATIONS = {OLD: to_current}


def columns(url: str) -> set[str]:
    engine = connect(url)
    names = {column["name"] for column in inspect(engine).get_columns("lrsearch_studies")}
    engine.dispose()
    return names


@pytest.fixture
def old_url(either_url: str) -> str:
    studies = Studies(either_url)
    Database(either_url, studies.engine)
    studies.close()
    with changing(either_url) as connection:
        connection.execute(text("ALTER TABLE lrsearch_studies DROP COLUMN priority"))
        connection.execute(
            text(
                "INSERT INTO lrsearch_studies "
                "(study_id, name, config, record, seconds, finished, share, tags, needs) "
                "VALUES (1, 'old', '{}', '{}', 5.0, 2, 1.0, '[]', '{}')"
            )
        )
        connection.execute(update(VersionRow).values(version=OLD))
    return either_url


def test_an_old_database_is_refused_until_it_is_upgraded(old_url: str) -> None:
    with pytest.raises(UserError, match="python -m lrsearch upgrade"):
        Database(old_url)
    assert "priority" not in columns(old_url)  # to look at it changes nothing
    assert upgrade(old_url, MIGRATIONS) == [f"lrsearch's tables: version {OLD} -> {OLD + 1}"]
    assert upgrade(old_url, MIGRATIONS) == ["everything is up to date"]
    Database(old_url).close()


def test_what_was_stored_is_kept(old_url: str) -> None:
    upgrade(old_url, MIGRATIONS)
    database = Database(old_url)
    with database.session() as session:
        row = session.execute(text("SELECT name, seconds, priority FROM lrsearch_studies")).one()
        assert tuple(row) == ("old", 5.0, 3)
        assert session.query(IdentityRow).count() == 1
    database.close()


def test_a_new_database_is_up_to_date(either_url: str) -> None:
    studies = Studies(either_url)
    Database(either_url, studies.engine)
    studies.close()
    assert upgrade(either_url) == ["everything is up to date"]


def test_tables_of_a_newer_version_are_left_alone(url: str) -> None:
    database = Database(url)
    with database.session.begin() as session:
        session.execute(update(VersionRow).values(version=SCHEMA_VERSION + 1))
    with pytest.raises(UserError, match="newer"):
        upgrade(url)
    with pytest.raises(UserError, match="newer lrsearch"):
        Database(url)
    database.close()


def test_a_database_without_our_tables_is_named(url: str) -> None:
    Studies(url).close()
    with pytest.raises(UserError, match="no tables of lrsearch"):
        upgrade(url)
