"""Brings the tables of an older version up to date, step by step; Optuna's own, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Column, Connection, inspect, select, text, update
from sqlalchemy.schema import CreateIndex, CreateTable

from lrsearch.errors import UserError
from lrsearch.study.database import connect, redacted
from lrsearch.study.tables import (
    COMPLETE,
    SCHEMA_VERSION,
    EpochRow,
    RefusalRow,
    SideRunRow,
    StudyRow,
    UnitRow,
    VersionRow,
)


def upgrade(url: str) -> list[str]:
    """What was done, a line each. Raises UserError for tables of a newer version.

    Each step is one transaction where the database has such for tables; make a copy first.
    """
    lines = []
    engine = connect(url)
    with engine.begin() as connection:
        if not inspect(connection).has_table(VersionRow.__tablename__):
            raise UserError(f"storage.url: {redacted(url)} has no tables of lrsearch")
        version = int(connection.scalar(select(VersionRow.version)) or 0)
        if version > SCHEMA_VERSION:
            raise UserError(
                f"storage.url: {redacted(url)} has tables of version {version}, newer than this "
                f"lrsearch ({SCHEMA_VERSION}): use a newer lrsearch"
            )
        for older in range(version, SCHEMA_VERSION):
            _STEPS[older](connection)
            connection.execute(update(VersionRow).values(version=older + 1))
            lines.append(f"lrsearch's tables: version {older} -> {older + 1}")
    engine.dispose()
    lines += _upgrade_optuna(url)
    return lines or ["everything is up to date"]


def _upgrade_optuna(url: str) -> list[str]:
    from optuna.storages import RDBStorage

    storage = RDBStorage(url, skip_compatibility_check=True)
    before, head = storage.get_current_version(), storage.get_head_version()
    if before != head:
        storage.upgrade()
    storage.remove_session()
    storage.engine.dispose()
    return [] if before == head else [f"Optuna's tables: {before} -> {head}"]


def _to_2(connection: Connection) -> None:
    """Leases by the database's clock, states of studies, ranks of values."""
    operations = Operations(MigrationContext.configure(connection))
    new: dict[Any, list[str]] = {
        StudyRow: ["runs", "priority", "ticked_at", "state", "hand_back"],
        UnitRow: ["leased_until", "deaths"],
        EpochRow: ["study_id", "evaluation", "value", "complete", "bracket"],
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
    for index in EpochRow.__table__.indexes:  # type: ignore[attr-defined]
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
            select(EpochRow.step, EpochRow.val_loss, EpochRow.train_loss, EpochRow.metrics)
            .where(EpochRow.trial_id == trial_id)
            .order_by(EpochRow.step)
        ).all()
        for count, (step, val_loss, train_loss, further) in enumerate(rows, start=1):
            values = {**(further or {}), "val_loss": val_loss, "train_loss": train_loss}
            connection.execute(
                update(EpochRow)
                .where(EpochRow.trial_id == trial_id, EpochRow.step == step)
                .values(
                    study_id=study_id,
                    evaluation=count,
                    value=values.get(metric),
                    complete=outcome == COMPLETE,
                )
            )


def _to_3(connection: Connection) -> None:
    """Runs outside the budget."""
    SideRunRow.__table__.create(connection)  # type: ignore[attr-defined]


_STEPS: dict[int, Callable[[Connection], None]] = {1: _to_2, 2: _to_3}
