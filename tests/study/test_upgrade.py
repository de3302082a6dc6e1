"""An older database is brought up to date by a command that says so."""

from __future__ import annotations

import pytest
from sqlalchemy import select, text, update

from lrsearch.errors import UserError
from lrsearch.states import StudyState
from lrsearch.study.claims import Claims
from lrsearch.study.database import Database
from lrsearch.study.engine import connect
from lrsearch.study.progress import Progress
from lrsearch.study.queue import Queue
from lrsearch.study.tables import SCHEMA_VERSION, EvaluationRow, VersionRow
from lrsearch.study.trials import Studies
from lrsearch.study.upgrade import upgrade

# The tables as version 1 made them, with a study that has one trial done and one interrupted.
VERSION_1 = """
CREATE TABLE lrsearch_version (version INTEGER NOT NULL PRIMARY KEY);
INSERT INTO lrsearch_version VALUES (1);
CREATE TABLE lrsearch_studies (study_id INTEGER NOT NULL PRIMARY KEY, name VARCHAR(512) NOT NULL
 UNIQUE, config JSON NOT NULL, record JSON NOT NULL, seconds FLOAT NOT NULL,
 finished INTEGER NOT NULL, stopped TEXT);
CREATE TABLE lrsearch_units (unit_id {serial} PRIMARY KEY,
 study_id INTEGER NOT NULL REFERENCES lrsearch_studies (study_id), number INTEGER NOT NULL,
 state VARCHAR(16) NOT NULL, params JSON NOT NULL, seed INTEGER NOT NULL, owner VARCHAR(255),
 lease_until TIMESTAMP, attempts INTEGER NOT NULL, trial_id INTEGER, trial_number INTEGER,
 recipe JSON, device VARCHAR(255), outcome VARCHAR(16), value FLOAT, reason TEXT,
 end_step INTEGER, end_lr FLOAT, seconds FLOAT, finish_order INTEGER, finished_at TIMESTAMP,
 UNIQUE (study_id, number));
CREATE INDEX ix_lrsearch_units_state ON lrsearch_units (state);
CREATE TABLE lrsearch_epochs (trial_id INTEGER NOT NULL, step INTEGER NOT NULL,
 epoch FLOAT NOT NULL, train_loss FLOAT, val_loss FLOAT, lr_start FLOAT NOT NULL,
 lr_end FLOAT NOT NULL, grad_norm FLOAT, seconds FLOAT NOT NULL, metrics JSON NOT NULL,
 PRIMARY KEY (trial_id, step));
INSERT INTO lrsearch_studies VALUES (1, 'old', '{"metric": {"name": "val_accuracy"}}', '{}', 5.0,
 1, 'three failures');
INSERT INTO lrsearch_units (study_id, number, state, params, seed, attempts, trial_id,
 trial_number, outcome, value, finish_order, owner)
 VALUES (1, 0, 'done', '{}', 7, 1, 1, 0, 'complete', 0.9, 1, NULL),
        (1, 1, 'running', '{}', 8, 1, 2, 1, NULL, NULL, NULL, 'gone/1/1.0');
INSERT INTO lrsearch_epochs VALUES
 (1, 10, 1.0, 0.5, 0.4, 0.1, 0.1, NULL, 1.0, '{"val_accuracy": 0.8}'),
 (1, 20, 2.0, 0.3, 0.3, 0.1, 0.1, NULL, 1.0, '{"val_accuracy": 0.9}'),
 (2, 10, 1.0, 0.6, 0.5, 0.1, 0.1, NULL, 1.0, '{"val_accuracy": 0.7}');
"""


@pytest.fixture
def old_url(either_url: str) -> str:
    studies = Studies(either_url)
    studies.create("old", "max", "val_accuracy")
    with studies.engine.begin() as connection:
        serial = "SERIAL" if "postgresql" in either_url else "INTEGER NOT NULL"
        for number in (0, 1):
            connection.execute(
                text(
                    f"INSERT INTO trials (number, study_id, state) VALUES ({number}, 1, 'RUNNING')"
                )
            )
        for statement in VERSION_1.replace("{serial}", serial).split(";\n"):
            if statement.strip():
                connection.exec_driver_sql(statement)
    studies.close()
    return either_url


def test_an_old_database_is_refused_until_it_is_upgraded(old_url: str) -> None:
    with pytest.raises(UserError, match="python -m lrsearch upgrade"):
        Database(old_url)
    assert upgrade(old_url) == [
        "lrsearch's tables: version 1 -> 2",
        "lrsearch's tables: version 2 -> 3",
    ]
    assert upgrade(old_url) == ["everything is up to date"]
    Database(old_url).close()


def test_what_was_stored_is_kept_and_work_goes_on(old_url: str) -> None:
    upgrade(old_url)
    studies = Studies(old_url)
    database = Database(old_url, studies.engine)
    progress = Progress(database.session, 1)
    assert [(one.trial, one.value) for one in progress.finished()] == [(0, 0.9)]
    snapshot = progress.snapshot()
    assert (snapshot.state, snapshot.stopped) == (StudyState.STOPPED, "three failures")
    with database.session() as session:
        rows = list(session.scalars(select(EvaluationRow).order_by(EvaluationRow.step)))
    of_first = [row for row in rows if row.trial_id == 1]
    assert [(row.evaluation, row.value, row.complete) for row in of_first] == [
        (1, 0.8, True), (2, 0.9, True),
    ]  # fmt: skip
    of_second = [row for row in rows if row.trial_id == 2]
    assert [(row.study_id, row.complete) for row in of_second] == [(1, False)]
    queue = Queue(database.session, 1)
    queue.open()
    claim = Claims(database.session, 1, "me/1/1.0").claim(take_over=False)
    assert claim is not None
    assert (claim.number, claim.trial_number) == (1, 1)
    studies.close()


def test_an_upgraded_database_has_the_columns_and_indices_of_a_new_one(
    old_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from sqlalchemy import inspect

    upgrade(old_url)
    fresh_url = f"sqlite:///{tmp_path_factory.mktemp('fresh') / 'new.db'}"
    Database(fresh_url).close()
    old, fresh = connect(old_url), connect(fresh_url)
    for table in inspect(fresh).get_table_names():
        columns = [
            {c["name"] for c in inspect(engine).get_columns(table)} for engine in (old, fresh)
        ]
        assert columns[0] == columns[1], table
        if table in ("lrsearch_epochs", "lrsearch_refusals"):
            names = [
                {i["name"] for i in inspect(engine).get_indexes(table)} for engine in (old, fresh)
            ]
            assert names[0] == names[1], table
    old.dispose()
    fresh.dispose()


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
