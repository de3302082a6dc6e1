"""Engines on a database: how it is connected to."""

from __future__ import annotations

from functools import partial
from typing import Any

from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import make_url

from lrsearch.storage.sqlite import file_of, open_file

_SILENCE_SECONDS = 10


def connect(url: str, read: bool = False) -> Engine:
    """An engine of at most two connections; one that is to `read` needs no room on the disk."""
    return create_engine(url, **engine_options(url, read))


def engine_options(url: str, read: bool = False) -> dict[str, Any]:
    """What every engine on this database is made with."""
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
    """What a server's driver is given at each connection."""
    if make_url(url).get_backend_name() != "postgresql":
        return {}
    # A host that has vanished answers nothing at all: notice it.
    return {
        "connect_timeout": _SILENCE_SECONDS,
        "keepalives_idle": _SILENCE_SECONDS,
        "keepalives_interval": 3,
        "keepalives_count": 3,
        "tcp_user_timeout": 1000 * _SILENCE_SECONDS,
        "application_name": "lrsearch",
    }
