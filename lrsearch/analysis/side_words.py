"""What is going on outside the budget, in words."""

from __future__ import annotations

from collections.abc import Iterable

from lrsearch.analysis.words import confirming
from lrsearch.states import Outcome, RunKind, WorkState
from lrsearch.study.progress import SideRun


def side_words(side_runs: Iterable[SideRun]) -> str | None:
    """`confirming the best 3: 4 of 9 runs`; None where all side runs are done."""
    runs = list(side_runs)
    if all(run.state == WorkState.DONE for run in runs):
        return None
    if any(run.kind == RunKind.RANGE_TEST and run.state != WorkState.DONE for run in runs):
        return "range test: finding the range of learning rates"
    if any(run.kind == RunKind.TEST and run.state != WorkState.DONE for run in runs):
        return "testing the confirmed winner"
    # Those that were dropped are never trained: they count nowhere, neither as done nor in all.
    mine = [run for run in runs if run.kind == RunKind.CONFIRM]
    trials = len({run.trial for run in mine})
    mine = [run for run in mine if run.outcome != Outcome.DROPPED]
    done = sum(run.state == WorkState.DONE for run in mine)
    return confirming(trials, done, len(mine)) if mine else None
