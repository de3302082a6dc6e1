"""Connections: their options, and how many a process takes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.pool import NullPool

from lrsearch.storage.database import Database
from lrsearch.storage.engine import connect, server_arguments
from lrsearch.storage.optuna_bridge import open_database

SERVER = "postgresql+psycopg://me@host/x"


@pytest.mark.parametrize(
    ("query", "expected"),
    [("", None), ("?prepare_threshold=none", None), ("?prepare_threshold=7", 7),
     ("?prepare_threshold=0", 0)],
)  # fmt: skip
def test_statements_are_prepared_only_where_the_url_says_so(
    query: str, expected: int | None
) -> None:
    assert server_arguments(f"{SERVER}{query}")["prepare_threshold"] == expected


def test_options_of_the_url_take_precedence() -> None:
    arguments = server_arguments(f"{SERVER}?connect_timeout=3&application_name=mine")
    assert arguments.keys().isdisjoint({"connect_timeout", "application_name"})
    assert "keepalives_idle" in arguments


def prepared(url: str) -> list[Any]:
    """What a connection of the server has prepared after a statement was used often."""
    engine = connect(url)
    with engine.connect() as connection:
        for number in range(10):
            connection.execute(text("SELECT :number"), {"number": number})
        found = connection.execute(text("SELECT name FROM pg_prepared_statements")).all()
    engine.dispose()
    return list(found)


def test_a_server_sees_prepared_statements_only_where_the_url_says_so(
    new_database: Callable[[], str],
) -> None:
    url = new_database()
    assert prepared(url) == []
    separator = "&" if "?" in url else "?"
    assert prepared(f"{url}{separator}prepare_threshold=2") != []


def test_a_process_opens_optunas_tables_and_its_own_with_one_connection_at_a_time(
    new_database: Callable[[], str],
) -> None:
    url = new_database()
    watching = create_engine(url, poolclass=NullPool)
    most = 0

    def count(*_: object) -> None:
        nonlocal most
        with watching.connect() as connection:
            query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            others = int(connection.scalar(text(query)) or 0) - 1
        most = max(most, others)

    def ask(database: Database) -> None:
        with database.session() as session:
            session.execute(text("SELECT 1"))

    for _ in range(2):  # the first one makes the tables
        studies, database = open_database(url)
        event.listen(studies.engine, "before_cursor_execute", count)
        studies.create("one", "min", "val_loss")
        with ThreadPoolExecutor(4) as threads:
            for _ in range(8):
                threads.submit(ask, database)
        assert most == 1
        studies.close()
    watching.dispose()
