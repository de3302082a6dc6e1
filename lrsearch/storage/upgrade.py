"""Upgrade the tables of an older version step by step, and Optuna's tables."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from sqlalchemy import Connection, text, update
from sqlalchemy.exc import DBAPIError

from lrsearch.errors import UserError
from lrsearch.storage.database import no_tables, refuse_file, stored_version, unusable
from lrsearch.storage.optuna_tables import upgrade_tables
from lrsearch.storage.schema import Step, migrate
from lrsearch.storage.tables import SCHEMA_VERSION, VersionRow
from lrsearch.text.redaction import redacted

MIGRATIONS: Mapping[int, Step] = {}
"""Steps by the version that they start from; each leads to the next version."""


def upgrade(url: str, migrations: Mapping[int, Step] = MIGRATIONS) -> list[str]:
    """Upgrade all tables of a database; return a line for each step.

    Each step is one transaction. There is no way back: make a copy first. Raises UserError for
    tables of a newer version, and for a database without tables of lrsearch.
    """
    refuse_file(url, write=True)
    try:
        steps = migrate(url, migrations, partial(_version, url), _set_version)
        optuna_step = upgrade_tables(url)
    except DBAPIError as error:
        raise unusable(url, error) from error
    lines = [f"lrsearch's tables: version {before} -> {after}" for before, after in steps]
    lines += [optuna_step] if optuna_step else []
    return lines or ["everything is up to date"]


def _version(url: str, connection: Connection) -> int:
    """Return the version of the tables, which stays the same until the transaction ends.

    Each transaction of a worker begins by reading the version: this waits for those that have, and
    keeps others waiting until they see the next version.
    """
    if connection.dialect.name == "postgresql" and stored_version(connection) is not None:
        connection.execute(text(f"LOCK TABLE {VersionRow.__tablename__} IN ACCESS EXCLUSIVE MODE"))
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
