"""A database that is no longer the one that was opened is not written to as if it were."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from shop import Shop
from sqlalchemy import Connection, create_engine, text, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError

from lrsearch.errors import UserError
from lrsearch.queue.trial_claims import TrialClaims
from lrsearch.storage.outages import passes
from lrsearch.storage.schema import changing
from lrsearch.storage.sqlite import DatabaseReplaced
from lrsearch.storage.tables import SCHEMA_VERSION, TrialSlotRow, VersionRow
from lrsearch.storage.upgrade import upgrade
from lrsearch.study.index import StudyIndex


class Units(Shop[TrialClaims]):
    """Two of them."""

    kind, table = TrialClaims, TrialSlotRow

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.queue.add([({}, 1), ({}, 2)])


def make(url: str) -> None:
    """Another database, with a study and units of the same numbers."""
    Units(url).close()


def file_of(url: str) -> Path:
    return Path(make_url(url).database or "")


# What is done to a SQLite file while it is open.


def delete(file: Path) -> None:
    file.unlink()


def delete_all(file: Path) -> None:
    for name in (file.name, f"{file.name}-wal", f"{file.name}-shm"):
        (file.parent / name).unlink(missing_ok=True)


def put_an_empty_one(file: Path) -> None:
    delete_all(file)
    file.touch()


def empty(file: Path) -> None:
    os.truncate(file, 0)


def write_text(file: Path) -> None:
    file.write_text("what was a database is a text")


def make_anew(file: Path) -> None:
    delete_all(file)
    make(f"sqlite:///{file}")


def put_a_copy_of_another(file: Path) -> None:
    other = file.with_name("other.db")
    make(f"sqlite:///{other}")
    delete_all(file)
    shutil.copyfile(other, file)


def copy_another_over_it(file: Path) -> None:
    other = file.with_name("other.db")
    make(f"sqlite:///{other}")
    shutil.copyfile(other, file)  # the inode stays


def put_an_older_copy_of_itself(file: Path) -> None:
    copy = file.with_name("copy.db")
    with closing(sqlite3.connect(file)) as connection, closing(sqlite3.connect(copy)) as target:
        connection.backup(target)
    delete_all(file)
    copy.rename(file)


@pytest.mark.parametrize(
    "replace",
    [
        delete, delete_all, put_an_empty_one, empty, write_text, make_anew, put_a_copy_of_another,
        copy_another_over_it, put_an_older_copy_of_itself,
    ],
)  # fmt: skip
def test_a_sqlite_file_that_is_no_longer_the_same_is_noticed_at_the_next_write_and_look(
    url: str, replace: Callable[[Path], None]
) -> None:
    shop = Units(url)
    worker, claim = shop.claim("a")
    worker.renew(claim)
    replace(file_of(url))
    with pytest.raises(DatabaseReplaced, match="nothing more is written"):
        worker.renew(claim)
    with pytest.raises(DatabaseReplaced):
        StudyIndex(shop.database.session).waiting()
    with pytest.raises(DatabaseReplaced):
        shop.studies.find("one")
    shop.studies.engine.dispose()  # a connection that is new meets the same, or no database at all
    with pytest.raises((DatabaseReplaced, DatabaseError)) as raised:
        worker.claim(take_over=True)
    assert not passes(raised.value)


def at_the_server(url: str, *statements: str) -> None:
    server = make_url(url).set(database="postgres")
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


@pytest.mark.parametrize("is_made", [True, False], ids=["with tables", "empty"])
def test_a_server_database_that_was_dropped_and_created_anew_is_noticed(
    new_database: Callable[[], str], is_made: bool
) -> None:
    url = new_database()
    shop = Units(url)
    worker, claim = shop.claim("a")
    name = make_url(url).database
    at_the_server(url, f"DROP DATABASE {name} WITH (FORCE)", f"CREATE DATABASE {name}")
    if is_made:
        make(url)
    for _ in range(2):
        with pytest.raises(DatabaseReplaced, match="dropped and created anew") as raised:
            worker.renew(claim)
        assert "hunter2" not in str(raised.value)
    with pytest.raises(DatabaseReplaced):
        StudyIndex(shop.database.session).waiting()
    shop.close()


def test_tables_that_were_dropped_and_made_anew_are_noticed(
    new_database: Callable[[], str],
) -> None:
    url = new_database()
    shop = Units(url)
    worker, claim = shop.claim("a")
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()
    make(url)
    with pytest.raises(DatabaseReplaced):
        worker.renew(claim)
    shop.close()


def test_what_sqlite_itself_writes_to_the_file_is_no_replacement(url: str) -> None:
    shop = Units(url)
    worker, claim = shop.claim("a")
    for _ in range(3):
        with closing(sqlite3.connect(file_of(url))) as other:
            other.execute("CREATE TABLE IF NOT EXISTS notes (note TEXT)")
            other.execute("INSERT INTO notes VALUES ('a')")
            other.commit()
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert not worker.renew(claim).hand_back
    shop.close()


def test_a_worker_of_an_older_version_writes_nothing_once_the_tables_were_upgraded(
    either_url: str,
) -> None:
    shop = Units(either_url)
    worker, claim = shop.claim("a")
    worker.renew(claim)
    with changing(either_url) as connection:  # what another lrsearch does
        connection.execute(update(VersionRow).values(version=SCHEMA_VERSION + 1))
        connection.execute(text("UPDATE lrsearch_units SET leased_until = 0"))
    for write in (worker.renew, worker.give_back):
        with pytest.raises(DatabaseReplaced, match="it was upgraded; nothing more is written"):
            write(claim)
    with pytest.raises(DatabaseReplaced, match="it was upgraded"):
        worker.claim(take_over=True)
    engine = create_engine(either_url)
    with engine.connect() as connection:
        left = connection.execute(text("SELECT DISTINCT leased_until FROM lrsearch_units"))
        assert [tuple(row) for row in left] == [(0.0,)]
    engine.dispose()
    shop.close()


def test_an_upgrade_waits_for_transactions_of_workers_and_they_for_it(
    new_database: Callable[[], str],
) -> None:
    url = new_database()
    shop = Units(url)
    worker, claim = shop.claim("a")
    beginning, to_end = threading.Event(), threading.Event()

    def step(connection: Connection) -> None:
        beginning.set()
        assert to_end.wait(30)

    with ThreadPoolExecutor(2) as threads:
        upgrading = threads.submit(upgrade, url, {SCHEMA_VERSION: step})
        assert beginning.wait(30)
        renewing = threads.submit(worker.renew, claim)
        wait_for_lock(url)
        to_end.set()
        with pytest.raises(DatabaseReplaced, match="it was upgraded"):
            renewing.result(30)
        with pytest.raises(UserError, match="newer"):  # this lrsearch knows no later version
            upgrading.result(30)
    shop.close()


def wait_for_lock(url: str) -> None:
    """Until a transaction waits for the table of versions."""
    query = (
        "SELECT count(*) FROM pg_locks JOIN pg_class ON pg_class.oid = relation "
        "WHERE relname = 'lrsearch_version' AND NOT granted"
    )
    engine = create_engine(url)
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        while not connection.scalar(text(query)):
            threading.Event().wait(0.01)
    engine.dispose()
