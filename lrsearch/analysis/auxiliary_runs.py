"""Progress of the auxiliary runs of a study: its range test, confirmation and test."""

from __future__ import annotations

from collections.abc import Iterable

from lrsearch.states import Outcome, RunKind, WorkState
from lrsearch.study.progress import AuxiliaryRun
from lrsearch.text.formatting import plural, the_best


def auxiliary_work(runs: Iterable[AuxiliaryRun]) -> str | None:
    """Describe the unfinished auxiliary runs; None where all have ended.

    For example `confirming the best 3: 4 of 9 runs`.
    """
    runs = list(runs)
    unfinished = {run.kind for run in runs if run.state != WorkState.DONE}
    if not unfinished:
        return None
    if RunKind.RANGE_TEST in unfinished:
        return "range test: finding the range of learning rates"
    if RunKind.TEST in unfinished:
        return "testing the confirmed winner"
    confirmations = [run for run in runs if run.kind == RunKind.CONFIRM]
    # Dropped runs are never trained, so they are not counted.
    wanted = [run for run in confirmations if run.outcome != Outcome.DROPPED]
    if not wanted:
        return None
    done = sum(run.state == WorkState.DONE for run in wanted)
    return confirming(len({run.trial for run in confirmations}), done, len(wanted))


def confirming(candidates: int, done: int, total: int) -> str:
    """Describe the progress of a confirmation: `confirming the best 3: 4 of 9 runs`."""
    return f"confirming {the_best(candidates)}: {done} of {plural(total, 'run')}"
