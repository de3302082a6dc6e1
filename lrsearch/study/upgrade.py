"""Brings the tables of an older version up to date, step by step; Optuna's own, too."""

from __future__ import annotations

from functools import partial
from typing import Any

from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Column, Connection, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateIndex, CreateTable

from lrsearch.errors import UserError
from lrsearch.redaction import redacted
from lrsearch.states import Outcome
from lrsearch.study.database import no_tables, refuse_file, stored_version, unusable
from lrsearch.study.identity import add_identity
from lrsearch.study.optuna_tables import upgrade_tables
from lrsearch.study.schema import Step, changing, migrate
from lrsearch.study.tables import (
    SCHEMA_VERSION,
    EvaluationRow,
    RefusalRow,
    SideRunRow,
    StudyRow,
    UnitRow,
    VersionRow,
)


def upgrade(url: str) -> list[str]:
    """What was done, a line each. Raises UserError for tables of a newer version.

    Each step is one transaction. To go back there is no way: make a copy first.
    """
    refuse_file(url, write=True)
    try:
        steps = migrate(url, _STEPS, partial(_version, url), _set_version)
        with changing(url) as connection:
            add_identity(connection)
        optuna_step = upgrade_tables(url)
    except DBAPIError as error:
        raise unusable(url, error) from error
    lines = [f"lrsearch's tables: version {before} -> {after}" for before, after in steps]
    lines += [optuna_step] if optuna_step else []
    return lines or ["everything is up to date"]


def _version(url: str, connection: Connection) -> int:
    version = stored_version(connection)
    if version is None:
        raise no_tables(url)
    if version > SCHEMA_VERSION:
        raise UserError(
            f"storage.url: {redacted(url)} has tables of version {version}, newer than this "
            f"lrsearch ({SCHEMA_VERSION}): use a newer lrsearch"
        )
    return version


def _set_version(connection: Connection, version: int) -> None:
    connection.execute(update(VersionRow).values(version=version))


def _to_2(connection: Connection) -> None:
    """Leases by the database's clock, states of studies, ranks of values."""
    operations = Operations(MigrationContext.configure(connection))
    new: dict[Any, list[str]] = {
        StudyRow: ["runs", "priority", "ticked_at", "state", "hand_back"],
        UnitRow: ["leased_until", "deaths"],
        EvaluationRow: ["study_id", "evaluation", "value", "complete", "bracket"],
    }
    for table, names in new.items():
        for name in names:
            given = table.__table__.c[name]
            operations.add_column(
                table.__tablename__,
                # What has no default must be filled before it can be required.
                Column(name, given.type, server_default=given.server_default),
            )
    operations.drop_column(UnitRow.__tablename__, "lease_until")
    connection.execute(CreateTable(RefusalRow.__table__))  # type: ignore[arg-type]
    connection.execute(
        text("update lrsearch_studies set state = 'stopped' where stopped is not null")
    )
    connection.execute(text("update lrsearch_units set state = 'open', owner = null "
                            "where state = 'running'"))  # fmt: skip
    _fill_epochs(connection)
    for index in EvaluationRow.__table__.indexes:  # type: ignore[attr-defined]
        if "progress" not in index.columns:  # that came later
            connection.execute(CreateIndex(index))
    connection.execute(CreateIndex(next(
        index for index in StudyRow.__table__.indexes  # type: ignore[attr-defined]
        if "state" in index.columns
    )))  # fmt: skip


def _fill_epochs(connection: Connection) -> None:
    """Study, count and value of each evaluation, from what is there."""
    studies = {
        study_id: config["metric"]["name"]
        for study_id, config in connection.execute(select(StudyRow.study_id, StudyRow.config))
    }
    units = connection.execute(
        select(UnitRow.trial_id, UnitRow.study_id, UnitRow.outcome).where(
            UnitRow.trial_id.is_not(None)
        )
    ).all()
    for trial_id, study_id, outcome in units:
        metric = studies[study_id]
        rows = connection.execute(
            select(
                EvaluationRow.step,
                EvaluationRow.val_loss,
                EvaluationRow.train_loss,
                EvaluationRow.metrics,
            )
            .where(EvaluationRow.trial_id == trial_id)
            .order_by(EvaluationRow.step)
        ).all()
        for count, (step, val_loss, train_loss, further) in enumerate(rows, start=1):
            values = {**(further or {}), "val_loss": val_loss, "train_loss": train_loss}
            connection.execute(
                update(EvaluationRow)
                .where(EvaluationRow.trial_id == trial_id, EvaluationRow.step == step)
                .values(
                    study_id=study_id,
                    evaluation=count,
                    value=values.get(metric),
                    complete=outcome == Outcome.COMPLETE,
                )
            )


def _to_3(connection: Connection) -> None:
    """Runs outside the budget; what forecasts need of an evaluation, a trial that was spared."""
    SideRunRow.__table__.create(connection)  # type: ignore[attr-defined]
    operations = Operations(MigrationContext.configure(connection))
    new: dict[Any, list[str]] = {EvaluationRow: ["progress", "rate_left"], UnitRow: ["spared_at"]}
    for table, names in new.items():
        for name in names:
            given = table.__table__.c[name]
            operations.add_column(table.__tablename__, Column(name, given.type))
    # What is over of the trials that ran to their end is known; others are no peers to anybody.
    connection.execute(
        text(
            "update lrsearch_epochs set progress = 1.0 * evaluation / (select max(whole.evaluation)"
            " from lrsearch_epochs as whole where whole.trial_id = lrsearch_epochs.trial_id)"
            " where complete"
        )
    )
    connection.execute(CreateIndex(next(
        index for index in EvaluationRow.__table__.indexes  # type: ignore[attr-defined]
        if "progress" in index.columns
    )))  # fmt: skip


_STEPS: dict[int, Step] = {1: _to_2, 2: _to_3}
