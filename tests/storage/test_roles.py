"""Roles of PostgreSQL, as docs/deploy.md makes them: workers that only write rows, and readers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from command_line import Command
from local_worker import serve, submit
from sqlalchemy import create_engine
from sqlalchemy.exc import ProgrammingError

from lrsearch.dashboard.own_tables import OwnTables
from lrsearch.dashboard.pictures import Artifacts
from lrsearch.dashboard.server import dashboard
from lrsearch.queue.jobs import Jobs
from lrsearch.storage.database import Database
from lrsearch.study.study import load_row
from lrsearch.workers.exit_codes import ExitCode

DEPLOY = Path(__file__).resolve().parents[2] / "docs" / "deploy.md"
SWEEP = ("+sweep=digits", "train.epochs=1", "study.n_trials=2", "confirm={top: 1, seeds: 2}")


def guide(role: str) -> list[str]:
    """The statements by which the documentation makes a role."""
    blocks = re.findall(r"```sql\n(.*?)```", DEPLOY.read_text(), re.DOTALL)
    (block,) = (block for block in blocks if f"CREATE ROLE {role}" in block)
    return [statement.strip() for statement in block.split(";") if statement.strip()]


@dataclass
class Roles:
    """A database whose tables are the owner's, and its URLs for other roles."""

    owner: str

    def url(self, role: str) -> str:
        return self.owner.replace("postgres:hunter2", f"{role}:...")

    def run(self, statements: list[str], role: str | None = None) -> None:
        engine = create_engine(self.owner if role is None else self.url(role))
        try:
            with engine.begin() as connection:
                for statement in statements:
                    connection.exec_driver_sql(statement)
        finally:
            engine.dispose()


@pytest.fixture
def roles(new_database: Callable[[], str], own_folder: Path) -> Iterator[Roles]:
    roles = Roles(new_database())
    submit(*SWEEP, f"storage.url={roles.owner}")
    for role in ("worker", "viewer"):
        roles.run(guide(role))
    yield roles
    for role in ("worker", "viewer"):
        roles.run([f"DROP OWNED BY {role}", f"DROP ROLE {role}"])


def store_job(url: str) -> None:
    """Write that a job on Ray, where it is not found any more, serves the study."""
    database = Database(url, make=False)
    study_id = load_row(database, "digits").study_id
    Jobs(database.session, study_id, "ray", {"address": "127.0.0.1:1"}).add({"digits-1": None})
    database.close()


FORBIDDEN = {
    "worker": (
        "DROP TABLE lrsearch_units", "DROP TABLE trials", "TRUNCATE lrsearch_units CASCADE",
        "ALTER TABLE lrsearch_studies ADD COLUMN more INTEGER", "CREATE TABLE more (id INTEGER)",
        "UPDATE lrsearch_version SET version = 2", "DELETE FROM alembic_version",
    ),
    "viewer": (
        "DROP TABLE lrsearch_units", "CREATE TABLE more (number INTEGER)",
        "DELETE FROM lrsearch_units", "UPDATE lrsearch_studies SET priority = 1",
        "UPDATE trials SET state = 'FAIL'", "INSERT INTO lrsearch_version VALUES (2)",
    ),
}  # fmt: skip


def test_a_worker_that_only_writes_rows_does_all_the_work_and_a_reader_sees_it(
    roles: Roles, command: Command
) -> None:
    storage = f"storage.url={roles.url('worker')}"
    assert command("set", "digits", "priority=1", storage)[0] == 0
    assert serve(url=roles.url("worker")) == ExitCode.DONE
    study = submit(*SWEEP, "study.name=another", storage)
    assert study.total == 2
    assert command("stop", "another", storage)[0] == 0
    assert command("delete", "another", "--yes", storage)[0] == 0

    store_job(roles.url("worker"))
    storage = f"storage.url={roles.url('viewer')}"
    code, out, error = command("status", "digits", "--json", storage)
    assert (code, error) == (0, "")
    assert json.loads(out)["outcomes"] == {"complete": 2}
    for words in (("status", "digits"), ("best", "digits"), ("report", "digits")):
        code, out, error = command(*words, storage)
        assert (code, error) == (0, ""), words
    tables = OwnTables(roles.url("viewer"))
    assert dashboard(roles.url("viewer"), Artifacts(tables, Path("artifacts")))
    tables.close()
    code, _, error = command("set", "digits", "priority=2", storage)
    assert code == 2
    assert "permission denied" in error

    for role, statements in FORBIDDEN.items():
        for statement in statements:
            with pytest.raises(ProgrammingError, match=r"permission denied|must be owner"):
                roles.run([statement], role)
