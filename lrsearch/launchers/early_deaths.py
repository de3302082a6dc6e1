"""When a sweep is given up because its workers cannot work."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

LIMIT = 3
"""Number of different trials at which workers may die before one ends well; then the sweep ends.

A worker that dies before it has claimed a trial counts like one more.
"""
_LOG_TAIL = 30
"""Lines of a dead worker's log that are shown."""


class EarlyDeaths:
    """Deaths of workers since any work last ended well."""

    def __init__(self) -> None:
        self._at: set[tuple[str, object]] = set()

    def ended_well(self) -> None:
        """Begin anew: some worker can work."""
        self._at = set()

    def add(self, work: Iterable[tuple[str, object]], worker: object) -> bool:
        """Note at what work a worker has died, if at any; return whether to give the sweep up."""
        self._at |= set(work) or {("worker", worker)}
        return len(self._at) >= LIMIT


def tail(log: Path) -> str:
    """Return the last lines of a log."""
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        return "(no log)"
    return "\n".join(lines[-_LOG_TAIL:]) or "(its log is empty)"
