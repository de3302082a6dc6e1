"""SQLAlchemy engines, and the options of their connections."""

from __future__ import annotations

import select
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DisconnectionError

from lrsearch.storage.server_options import prepare_threshold
from lrsearch.storage.sqlite import file_of, open_file

_SILENCE_SECONDS = 10
"""Seconds without an answer after which a server counts as unreachable."""
_FRESH_SECONDS = 10.0
"""Seconds after its last use in which a connection is taken again without a question."""
_TURN_SECONDS = 30
"""Longest time in seconds for which a thread waits until another gives the connection back."""
_CONNECTION: Mapping[str, Any] = {
    # Detect a host that has vanished, and so answers nothing at all.
    "connect_timeout": _SILENCE_SECONDS,
    "keepalives_idle": _SILENCE_SECONDS,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 1000 * _SILENCE_SECONDS,
    "application_name": "lrsearch",
}
"""Options of libpq for each connection to a server; those in the URL take precedence."""


def connect(url: str, read: bool = False, connections: int = 1) -> Engine:
    """Create an engine of at most that many connections.

    Threads wait for each other, so none may need a second connection while it has one. With
    `read`, a SQLite file is opened even on a full disk.
    """
    return create_engine(url, **engine_options(url, read, connections))


def engine_options(url: str, read: bool = False, connections: int = 1) -> dict[str, Any]:
    """Return the arguments of `create_engine` for a database."""
    options: dict[str, Any] = {
        "pool_size": connections,
        "max_overflow": 0,
        "pool_timeout": _TURN_SECONDS,
    }
    file = file_of(url)
    if file is not None:
        return {**options, "creator": partial(open_file, file, read=read)}
    events = [(_used, "checkin"), (_check, "checkout")]
    return {**options, "pool_events": events, "connect_args": server_arguments(url)}


def _used(connection: Any, record: Any) -> None:
    """Note when a connection was last used."""
    record.info["used"] = time.monotonic()


def _check(connection: Any, record: Any, proxy: Any) -> None:
    """Ask the server whether a connection still works, where it may not.

    The pool then replaces it. A question each time would be every sixth message of a worker.
    """
    is_fresh = time.monotonic() - record.info.get("used", -_FRESH_SECONDS) < _FRESH_SECONDS
    if is_fresh and not _has_news(connection):
        return
    try:
        connection.autocommit = True
        connection.execute("SELECT 1")
        connection.autocommit = False
    except connection.OperationalError as error:
        raise DisconnectionError from error


def _has_news(connection: Any) -> bool:
    """Return whether an idle server has sent something: that it ends the connection, mostly."""
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def server_arguments(url: str) -> dict[str, Any]:
    """Return the arguments of psycopg for each connection to a server."""
    given = make_url(url).query
    ours = {key: value for key, value in _CONNECTION.items() if key not in given}
    return ours | {"prepare_threshold": prepare_threshold(given)}
