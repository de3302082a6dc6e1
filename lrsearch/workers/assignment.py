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
    idle_timeout: float | None = None
    """Seconds without work after which it ends. None with `until_empty` in a job of a cluster: it
    ends, to free what the job holds, as soon as nothing is open and enough others are at work."""

    labels: tuple[str, ...] = ()
    """Labels of this worker, besides those of its environment, for studies that need them."""

    def options(self) -> list[str]:
        """Return the options of the command `worker` that say the same."""
        options = [word for name in self.sweeps for word in ("--sweep", name)]
        options += ["--until-empty"] if self.until_empty else []
        if self.idle_timeout is not None:
            options += ["--idle-timeout", repr(self.idle_timeout)]
        options += [word for label in self.labels for word in ("--label", label)]
        return options

    def serves(self, name: str) -> bool:
        """Return whether a study is one of these."""
        return not self.sweeps or name in self.sweeps
