"""The connection to the database: one engine for Optuna's tables and lrsearch's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from lrsearch.errors import UserError
from lrsearch.study.tables import SCHEMA_VERSION, Base, VersionRow

_BUSY_SECONDS = 60
_SILENCE_SECONDS = 10


def redacted(url: str) -> str:
    """The URL as it may be shown: without its password."""
    return make_url(url).render_as_string(hide_password=True)


def absolute(url: str) -> str:
    """The URL, the path of a SQLite file from the root: it holds in every folder."""
    parts = make_url(url)
    if parts.get_backend_name() != "sqlite":
        return url
    file = Path(parts.database or "").absolute()
    return parts.set(database=str(file)).render_as_string(hide_password=False)


def existing(url: str) -> str:
    """The URL itself. Raises UserError where it names a file that is not there."""
    parts = make_url(url)
    if parts.get_backend_name() == "sqlite" and not Path(parts.database or "").is_file():
        raise UserError(
            f"storage.url: there is no database {redacted(url)}; a sweep makes it, or give "
            f"storage.url=... of another"
        )
    return url


def beside(url: str, folder: str) -> Path:
    """A folder beside the database's file, or in the working directory for a server."""
    parts = make_url(url)
    file = Path(parts.database or "") if parts.get_backend_name() == "sqlite" else Path("x")
    return (file.parent / folder).absolute()


def unusable(url: str, error: Exception) -> UserError:
    """What to raise for an error that came with opening a database; without the password."""
    return UserError(f"storage.url: cannot use the database {redacted(url)}: {why(url, error)}")


def why(url: str, error: BaseException) -> str:
    """What a database says is wrong, in a line, without the password."""
    reason = (str(getattr(error, "orig", None) or error).strip() or repr(error)).splitlines()[0]
    return _without(url, reason)


class Database:
    """An engine over `url` and sessions on lrsearch's tables, made if they are missing.

    A worker gives the engine of Optuna's storage: both together take two connections at most.
    Raises UserError, without the password, when the database cannot be reached or is of another
    version.
    """

    def __init__(self, url: str, engine: Engine | None = None) -> None:
        self.url = url
        try:
            self.engine = engine or connect(url)
            self._prepare()
        except (DBAPIError, ImportError) as error:
            raise unusable(url, error) from error
        self.session: sessionmaker[Session] = sessionmaker(self.engine)

    def _prepare(self) -> None:
        if not inspect(self.engine).has_table(VersionRow.__tablename__):
            try:
                Base.metadata.create_all(self.engine)
            except DBAPIError:
                # Another process may have made them at the same moment.
                if not inspect(self.engine).has_table(VersionRow.__tablename__):
                    raise
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
                f"this lrsearch needs {SCHEMA_VERSION}: "
                + (
                    "python -m lrsearch upgrade brings them up to date"
                    if version < SCHEMA_VERSION
                    else "use a newer lrsearch"
                )
            )

    def close(self) -> None:
        """Gives all connections back."""
        self.engine.dispose()


def connect(url: str) -> Engine:
    """An engine of at most two connections. On SQLite readers wait for nobody (WAL)."""
    engine = create_engine(url, **engine_options(url))
    if make_url(url).get_backend_name() == "sqlite":
        prepare_sqlite(engine)
    return engine


def engine_options(url: str) -> dict[str, Any]:
    """What every engine on this database is made with."""
    backend = make_url(url).get_backend_name()
    if backend == "sqlite":
        return {"connect_args": {"timeout": _BUSY_SECONDS}}
    options: dict[str, Any] = {
        "pool_size": 1,
        "max_overflow": 1,
        "pool_pre_ping": True,
        "pool_timeout": _SILENCE_SECONDS,
    }
    if backend == "postgresql":
        # A host that has vanished answers nothing at all: notice it.
        options["connect_args"] = {
            "connect_timeout": _SILENCE_SECONDS,
            "keepalives_idle": _SILENCE_SECONDS,
            "keepalives_interval": 3,
            "keepalives_count": 3,
            "tcp_user_timeout": 1000 * _SILENCE_SECONDS,
            "application_name": "lrsearch",
        }
    return options


def prepare_sqlite(engine: Engine) -> None:
    """Sets what SQLite wants set on each connection."""

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        connection.execute(f"PRAGMA busy_timeout={_BUSY_SECONDS * 1000}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        # Whoever writes the page of this number copies all of them into the database and waits for
        # the disk, a tenth of a second. At the default of 1,000 that was one write in a hundred.
        connection.execute("PRAGMA wal_autocheckpoint=10000")


def _without(url: str, text: str) -> str:
    password = make_url(url).password
    return text.replace(str(password), "***") if password else text
