"""lrsearch's own tables of a database that may not have them yet."""

from __future__ import annotations

from sqlalchemy import Engine

from lrsearch.storage.database import Database, stored_version
from lrsearch.storage.engine import connect

_CONNECTIONS = 2
"""One for the thread that refreshes notes and figures, one for those that answer requests."""


class OwnTables:
    """Opens lrsearch's tables once a sweep has created them; never creates them."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._engine: Engine | None = None
        self._database: Database | None = None

    def database(self) -> Database | None:
        """None without the tables. Raises UserError for those of another version."""
        if self._database is None:
            self._engine = self._engine or connect(self._url, connections=_CONNECTIONS)
            with self._engine.connect() as connection:
                has_tables = stored_version(connection) is not None
            if has_tables:
                self._database = Database(self._url, self._engine, make=False)
        return self._database

    def close(self) -> None:
        """Return all connections."""
        if self._engine is not None:
            self._engine.dispose()
