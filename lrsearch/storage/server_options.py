"""Databases that lrsearch stores in, and the options in the URL of a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lrsearch.errors import UserError
from lrsearch.text.hints import unknown

DRIVERS = {"sqlite": ("", "pysqlite"), "postgresql": ("psycopg",)}
"""Databases, and the drivers of SQLAlchemy with which lrsearch uses them."""
PREPARE_THRESHOLD = "prepare_threshold"
_OF_PSYCOPG = ("autocommit", "context", "cursor_factory", "row_factory")
"""Arguments of psycopg that a URL cannot give: they would change how transactions work."""


def refuse_unsupported(backend: str, driver: str) -> None:
    """Raise UserError for a database or driver that lrsearch does not use."""
    if backend not in DRIVERS:
        raise UserError(
            f"storage.url: lrsearch cannot store in {backend!r}: use PostgreSQL "
            f"(postgresql://user@host/name), which serves many machines, or SQLite "
            f"(sqlite:///lrsearch.db) on one"
        )
    if driver not in DRIVERS[backend]:
        raise UserError(
            f"storage.url: the driver of {backend} is "
            f"{unknown(driver, [name for name in DRIVERS[backend] if name])}; write {backend}://"
        )


def check_options(query: Mapping[str, str | Sequence[str]]) -> None:
    """Check the options behind the ? of a server's URL. Raises UserError.

    Those of libpq, such as sslmode, are checked by libpq when it connects.
    """
    for key in _OF_PSYCOPG:
        if key in query:
            raise UserError(f"storage.url: the option {key} cannot be set")
    prepare_threshold(query)


def prepare_threshold(query: Mapping[str, str | Sequence[str]]) -> int | None:
    """Return after how many uses a statement is prepared; None, the default, is never.

    Behind a pooler in transaction mode each transaction may have another connection of the
    server, which lacks the statement, or has it already. Raises UserError.
    """
    text = query.get(PREPARE_THRESHOLD, "none")
    if isinstance(text, str):
        if text.lower() == "none":
            return None
        if text.isascii() and text.isdigit():
            return int(text)
    raise UserError(
        f"storage.url: {PREPARE_THRESHOLD}={text}: it is a whole number from 0 (statements are "
        f"prepared after so many uses) or none"
    )
