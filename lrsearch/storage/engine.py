"""SQLAlchemy engines, and the options of their connections."""

from __future__ import annotations

from functools import partial
from typing import Any

from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import make_url

from lrsearch.storage.sqlite import file_of, open_file

_SILENCE_SECONDS = 10
"""Seconds without an answer after which a server counts as unreachable."""


def connect(url: str, read: bool = False) -> Engine:
    """Create an engine of at most two connections.

    With `read`, a SQLite file is opened even on a full disk.
    """
    return create_engine(url, **engine_options(url, read))


def engine_options(url: str, read: bool = False) -> dict[str, Any]:
    """Return the arguments of `create_engine` for a database."""
    file = file_of(url)
    if file is not None:
        return {"creator": partial(open_file, file, read=read)}
    return {
        "pool_size": 1,
        "max_overflow": 1,
        "pool_pre_ping": True,
        "pool_timeout": _SILENCE_SECONDS,
        "connect_args": server_arguments(url),
    }


def server_arguments(url: str) -> dict[str, Any]:
    """Return the arguments of a server's driver for each connection."""
    if make_url(url).get_backend_name() != "postgresql":
        return {}
    # Detect a host that has vanished, and so answers nothing at all.
    return {
        "connect_timeout": _SILENCE_SECONDS,
        "keepalives_idle": _SILENCE_SECONDS,
        "keepalives_interval": 3,
        "keepalives_count": 3,
        "tcp_user_timeout": 1000 * _SILENCE_SECONDS,
        "application_name": "lrsearch",
        # PgBouncer in transaction mode gives each transaction another connection of the server.
        "prepare_threshold": None,
    }
