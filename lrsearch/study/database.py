"""The connection to the database: one engine for Optuna's tables and lrsearch's own."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, create_engine, event, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from lrsearch.errors import UserError
from lrsearch.study.tables import SCHEMA_VERSION, Base, VersionRow

_BUSY_SECONDS = 120


def redacted(url: str) -> str:
    """The URL as it may be shown: without its password."""
    return make_url(url).render_as_string(hide_password=True)


class Database:
    """An engine over `url` and sessions on lrsearch's tables, made if they are missing.

    Raises UserError, without the password, when the database cannot be reached or is of another
    version.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            self.engine = connect(url)
            self._prepare()
        except (DBAPIError, ImportError) as error:
            reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            raise UserError(
                f"storage.url: cannot use the database {redacted(url)}: {_without(url, reason)}"
            ) from None
        self.session: sessionmaker[Session] = sessionmaker(self.engine)

    def _prepare(self) -> None:
        if not inspect(self.engine).has_table(VersionRow.__tablename__):
            Base.metadata.create_all(self.engine)
        with Session(self.engine) as session:
            version = session.scalar(select(VersionRow.version))
            if version is None:
                version = SCHEMA_VERSION
                session.add(VersionRow(version=version))
                try:
                    session.commit()
                except IntegrityError:
                    session.rollback()  # another process was first
        if version != SCHEMA_VERSION:
            raise UserError(
                f"storage.url: {redacted(self.url)} has lrsearch tables of version {version}, "
                f"this lrsearch needs {SCHEMA_VERSION}: use the lrsearch that made it, "
                f"or another database"
            )

    def close(self) -> None:
        """Gives all connections back."""
        self.engine.dispose()


def connect(url: str) -> Engine:
    """An engine. On SQLite writers wait for each other, and readers for nobody (WAL)."""
    if make_url(url).get_backend_name() != "sqlite":
        return create_engine(url, pool_size=2, max_overflow=0, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        connection.execute(f"PRAGMA busy_timeout={_BUSY_SECONDS * 1000}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    return engine


def _without(url: str, text: str) -> str:
    password = make_url(url).password
    return text.replace(str(password), "***") if password else text
