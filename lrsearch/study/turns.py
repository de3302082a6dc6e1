"""Turns at writing to a SQLite file."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

_PATIENCE = 1.0
"""Seconds after which one writes without a turn: who has it may be a stopped process."""
_LOOK = 0.001
"""Seconds between two looks whether it is one's turn."""


def sessions(engine: Engine) -> sessionmaker[Session]:
    """Sessions; on a SQLite file those of `begin()`, which write, take turns."""
    path = engine.url.database
    if engine.dialect.name != "sqlite" or not path or path == ":memory:":
        return sessionmaker(engine)
    return _SessionsInTurn(engine, Path(f"{path}-turn"))


class _SessionsInTurn(sessionmaker[Session]):
    """SQLite lets writers sleep for up to a tenth of a second before they look again, and longest
    those that have waited longest. So they wait here, where looking costs nothing. What keeps them
    apart is SQLite's own lock still.
    """

    def __init__(self, engine: Engine, turn: Path) -> None:
        super().__init__(engine)
        self._turn = turn

    @contextmanager
    def begin(self) -> Iterator[Session]:
        with _turn(self._turn), super().begin() as session:
            yield session


@contextmanager
def _turn(path: Path) -> Iterator[None]:
    """Holds a lock on the file, which ends with the process; goes on without where there is none.

    Each turn opens the file anew: threads of one process take turns, too.
    """
    try:
        import fcntl

        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except (ImportError, OSError):
        yield
        return
    try:
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            with suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(_LOOK)
        yield
    finally:
        os.close(file)
