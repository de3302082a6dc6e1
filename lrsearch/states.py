"""States, outcomes and kinds of work, as the database stores them.

Imports nothing of lrsearch, so that every module can use these names. What is read from the
database is plain text, which compares equal to the members.
"""

from __future__ import annotations

from enum import StrEnum


class WorkState(StrEnum):
    """State of a trial slot or an auxiliary run."""

    OPEN = "open"
    """Any worker may claim it."""
    RUNNING = "running"
    """A worker has claimed it."""
    DONE = "done"


UNFINISHED = (WorkState.OPEN, WorkState.RUNNING)
"""States of work that is left. Queries ask for these rather than for what is not done: indexes find
them, however many rows are done."""


class StudyState(StrEnum):
    """State of a study. Workers claim its work only while it is open."""

    OPEN = "open"
    PAUSED = "paused"
    """Goes on after `resume`."""
    STOPPED = "stopped"
    """Over, until it is run or submitted again."""
    FAILED = "failed"
    """Stopped because trials failed one after the other."""


class Outcome(StrEnum):
    """How a trial or an auxiliary run ended."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    DIVERGED = "diverged"
    OUT_OF_MEMORY = "out_of_memory"
    FAILED = "failed"
    """It raised an error."""
    CRASHED = "crashed"
    """Its worker processes died, or stopped renewing their leases."""
    DROPPED = "dropped"
    """An auxiliary run that was not begun because it was no longer needed."""


class RunKind(StrEnum):
    """What an auxiliary run, one outside the budget of trials, is for."""

    CONFIRM = "confirm"
    """A trial's recipe again on a fresh seed."""
    TEST = "test"
    """The confirmed winner's weights on the test part of the data."""
    RANGE_TEST = "range_test"
    """The search for ranges of learning rates."""


def in_words(outcome: str) -> str:
    """Return an outcome as text to show: `out of memory`."""
    return outcome.replace("_", " ")
