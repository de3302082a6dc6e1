"""lrsearch's own tables of a database that may not have them yet."""

from __future__ import annotations

from sqlalchemy import inspect

from lrsearch.study.database import Database, connect
from lrsearch.study.tables import VersionRow


class OwnTables:
    """Finds lrsearch's tables as soon as a sweep has made them; looking never makes them."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._engine = connect(url)
        self._database: Database | None = None

    def database(self) -> Database | None:
        """None without the tables. Raises UserError for those of another version."""
        if self._database is None and inspect(self._engine).has_table(VersionRow.__tablename__):
            self._database = Database(self._url, self._engine)
        return self._database

    def close(self) -> None:
        """Gives all connections back."""
        self._engine.dispose()
