"""What is said of a study's cost."""

from __future__ import annotations

from dataclasses import replace

import pytest
from said import Example, check, names

from lrsearch.analysis.sentences.spent import SPENT
from lrsearch.analysis.spent import Cause, Spent, Worker

NOTHING = Spent(
    total=8, running=0, outcomes=(), epochs=(), full_epochs=0.0, pruned_epochs=0.0, spared=0,
    wrongly=0, workers=(), wall_seconds=0.0, deaths=0, causes=(),
)  # fmt: skip
WHOLE = replace(
    NOTHING,
    running=1,
    outcomes=(("complete", 2),),
    epochs=(("complete", 10.0),),
    full_epochs=10.0,
    workers=(Worker("a/1/1.00", None, 2, 60.0),),
    wall_seconds=90.0,
)
PRUNED = replace(
    WHOLE, outcomes=(("complete", 2), ("pruned", 1)), full_epochs=15.0, pruned_epochs=3.0
)
CHECKED = replace(PRUNED, spared=20, wrongly=1)
EXAMPLES = {
    "spent.ended": Example(WHOLE, "2 of 8 trials have ended: 2 complete; 1 is running."),
    "spent.work": Example(
        WHOLE,
        "They trained 10 epochs in 1m00s of work by 1 worker process, 1m30s of wall clock.",
        NOTHING,
    ),
    "spent.saved": Example(
        PRUNED,
        "Pruning saved 3 of 15 epochs (20 %), against running every trial to its end.",
        WHOLE,
    ),
    "spent.nothing_saved": Example(
        WHOLE, "Pruning saved nothing: no trial was pruned.", PRUNED
    ),
    "spent.wrong": Example(
        CHECKED,
        "Whether pruning was right: 20 trials that should have been pruned ran to the end as a "
        "check, and 1 became the best so far; so at most 22 % of the prunings were wrong (with "
        "95 % confidence).",
        PRUNED,
    ),
    "spent.few_checks": Example(
        replace(PRUNED, spared=1),
        "Whether pruning was right: 1 trial that should have been pruned ran to the end as a "
        "check, and none became the best so far; too few checks to tell how often pruning is "
        "wrong.",
        CHECKED,
    ),
    "spent.no_check": Example(
        PRUNED,
        "Whether pruning was right cannot be told: no trial that should have been pruned ran to "
        "its end as a check (pruner.spare says how many do).",
        CHECKED,
    ),
    "spent.deaths": Example(
        replace(WHOLE, deaths=1), "Workers died or fell silent with a trial 1 time.", WHOLE
    ),
    "spent.failed": Example(
        Cause("ValueError: no disk", 3), "3 trials failed with: ValueError: no disk"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", names(SPENT))
def test_a_sentence_is_said_where_it_is_true(name: str) -> None:
    check(SPENT, name, EXAMPLES)
