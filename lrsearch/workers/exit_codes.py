"""Exit codes of a worker, by which what started it decides whether to start another."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How a worker process ended."""

    DONE = 0
    """Nothing is left to do, or others do the rest."""
    BROKEN = 1
    """An error of lrsearch or of the machine, which the log has."""
    BAD_INPUT = 2
    """The command is wrong, or the database refuses it: starting it again does not help."""
    REFUSED = 3
    """Work is left, and this machine can do none of it; the log has the reasons."""
    STALLED = 70
    """A training made no progress for `queue.stall_timeout` seconds: start another."""
    HANDED_BACK = 75
    """It was told to stop, and has handed its work back: start another."""
