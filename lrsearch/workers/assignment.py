"""What a worker serves, and when it ends by itself. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Assignment:
    """The studies that a worker serves, and when it ends by itself."""

    sweeps: tuple[str, ...] = ()
    """Names of the studies; empty for all of the database."""
    until_empty: bool = False
    """Whether it ends when nothing is left that it can do."""

    def serves(self, name: str) -> bool:
        """Return whether a study is one of these."""
        return not self.sweeps or name in self.sweeps
