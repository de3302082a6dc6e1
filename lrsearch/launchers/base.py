"""The display on which a launcher shows progress."""

from __future__ import annotations

from typing import Protocol, Self

from lrsearch.study.progress import Finished, Snapshot


class Display(Protocol):
    """Shows snapshots of a sweep."""

    interval: float
    """Seconds between two updates; each costs the workers some time."""

    def update(self, snapshot: Snapshot, new: list[Finished]) -> None:
        """Show the state of the sweep, and the trials that have ended since the last call."""

    def say(self, line: str) -> None:
        """Print a line that stays on the screen."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...
