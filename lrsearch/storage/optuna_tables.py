"""Create and upgrade Optuna's tables as Optuna does, but in one transaction."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import optuna
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, insert, inspect, select, update

from lrsearch.errors import UserError
from lrsearch.storage.database import foreign, no_tables, refuse_file
from lrsearch.storage.engine import connect
from lrsearch.storage.optuna_internals import TrialReadingStorage, models
from lrsearch.storage.schema import changing, foreign_tables
from lrsearch.storage.sqlite import file_of
from lrsearch.storage.tables import Base, VersionRow
from lrsearch.text.redaction import redacted

S = TypeVar("S", bound=TrialReadingStorage)

_ALEMBIC = "alembic_version"
_VERSION = models.VersionInfoModel


def open_storage(kind: type[S], url: str, options: dict[str, Any]) -> S:
    """Open Optuna's storage on existing tables, with `options` for the engine.

    Raises UserError where the tables are of another version.
    """
    # Optuna's own check of the version takes a second connection while it holds one.
    storage = kind(
        url, engine_kwargs=options, skip_table_creation=True, skip_compatibility_check=True
    )
    try:
        with storage.engine.connect() as connection:
            is_current = _revisions(connection) == (_scripts().get_current_head(),)
    except BaseException:
        storage.engine.dispose()
        raise
    if is_current:
        return storage
    storage.engine.dispose()
    raise UserError(
        f"storage.url: {redacted(url)} was made by another version of Optuna: "
        f"python -m lrsearch upgrade brings it up to date"
    )


def has_tables(connection: Connection) -> bool:
    """Return whether Optuna's tables exist, of whatever version."""
    is_there = inspect(connection).has_table(_VERSION.__tablename__)
    return is_there and bool(_revisions(connection))


def require_tables(url: str) -> None:
    """Raise UserError where a database has no tables of Optuna."""
    engine = connect(url)
    try:
        with engine.connect() as connection:
            if not has_tables(connection):
                raise no_tables(url)
    finally:
        engine.dispose()


def make_tables(url: str) -> None:
    """Create Optuna's tables if they are missing.

    Raises UserError where another program has tables with names of Optuna's or lrsearch's.
    """
    refuse_file(url, write=True)
    file = file_of(url)
    if file is None or file.exists():
        engine = connect(url)
        try:
            with engine.connect() as connection:
                if has_tables(connection):
                    return
        finally:
            engine.dispose()
    with changing(url) as connection:
        if has_tables(connection):
            return  # another process was first
        if tables := _foreign(connection):
            raise foreign(url, tables)
        models.BaseModel.metadata.create_all(connection)
        if not connection.scalar(select(func.count()).select_from(_VERSION)):
            connection.execute(insert(_VERSION).values(version_info_id=1, **_current()))
        MigrationContext.configure(connection).stamp(_scripts(), "head")


def upgrade_tables(url: str) -> str | None:
    """Upgrade Optuna's tables; return a line about it, or None where they were up to date."""
    with changing(url) as connection:
        if not has_tables(connection):
            return None
        scripts, before = _scripts(), _revisions(connection)
        head = scripts.get_current_head()
        if before == (head,):
            return None
        known = {script.revision for script in scripts.walk_revisions()}
        if not known.issuperset(before):
            raise UserError(
                f"storage.url: {redacted(url)} was made by a newer Optuna: use a newer Optuna"
            )
        config = Config()
        config.set_main_option("script_location", scripts.dir)
        with EnvironmentContext(
            config, scripts, fn=lambda revision, _: scripts._upgrade_revs("head", revision)
        ) as environment:
            environment.configure(
                connection=connection,
                target_metadata=models.BaseModel.metadata,
                render_as_batch=True,
            )
            environment.run_migrations()
        connection.execute(update(_VERSION).values(**_current()))
    return f"Optuna's tables: {', '.join(before)} -> {head}"


def _revisions(connection: Connection) -> tuple[str, ...]:
    return MigrationContext.configure(connection).get_current_heads()


def _scripts() -> ScriptDirectory:
    """Return Alembic's scripts: the steps from each version of Optuna's tables to the next."""
    return ScriptDirectory(str(Path(models.__file__).parent / "alembic"))


def _current() -> dict[str, Any]:
    """Return the row of Optuna's table of versions for the installed Optuna."""
    return {"schema_version": models.SCHEMA_VERSION, "library_version": optuna.__version__}


def _foreign(connection: Connection) -> list[str]:
    """Return the tables of another program that have names of Optuna's or lrsearch's."""
    tables = foreign_tables(connection, models.BaseModel.metadata)
    if _revisions(connection):
        tables.append(_ALEMBIC)  # another program's: Optuna's comes with its table of versions
    if not inspect(connection).has_table(VersionRow.__tablename__):
        tables += foreign_tables(connection, Base.metadata)
    return tables
