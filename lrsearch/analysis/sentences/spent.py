"""Sentences on what a study has cost."""

from __future__ import annotations

from lrsearch.analysis.sentence import ForEach, Sentence, Table, always
from lrsearch.analysis.spent import Cause, Spent
from lrsearch.text.formatting import duration, listed, number, percent, plural

_CAUSES = 5
_SAYS_NOTHING = 0.5
"""Upper confidence limit of the share of wrong prunings from which on the share is not shown."""


def _ended(spent: Spent) -> str:
    counts = listed([f"{count} {words}" for words, count in spent.outcomes])
    have = "has" if spent.total == 1 else "have"
    state = f"{spent.done} of {plural(spent.total, 'trial')} {have} ended"
    state += f": {counts}" if counts else ""
    if spent.running:
        state += f"; {spent.running} {'is' if spent.running == 1 else 'are'} running"
    return f"{state}."


def _work(spent: Spent) -> str:
    wall = f", {duration(spent.wall_seconds)} of wall clock" if spent.wall_seconds else ""
    return (
        f"{'It' if spent.done == 1 else 'They'} trained "
        f"{number(spent.trained_epochs)} {'epoch' if spent.trained_epochs == 1 else 'epochs'} in "
        f"{duration(spent.work_seconds)} of work by "
        f"{plural(len(spent.workers), 'worker process')}{wall}."
    )


def _saved(spent: Spent) -> str:
    return (
        f"Pruning saved {number(spent.pruned_epochs)} of {number(spent.full_epochs)} epochs "
        f"({percent(spent.pruned_epochs / spent.full_epochs)}), against running every trial to its "
        f"end."
    )


def _checks(spent: Spent) -> str:
    return (
        f"Whether pruning was right: {plural(spent.spared, 'trial')} that should have been pruned "
        f"ran to the end as a check, and {spent.wrongly or 'none'} became the best so far"
    )


def _wrong(spent: Spent) -> str:
    return (
        f"{_checks(spent)}; so at most {percent(spent.most_wrong)} of the prunings were wrong "
        f"(with 95 % confidence)."
    )


def _failed(cause: Cause) -> str:
    return f"{plural(cause.trials, 'trial')} failed with: {cause.text}"


CAUSE: Table[Cause] = (Sentence("spent.failed", always, _failed),)

SPENT: Table[Spent] = (
    Sentence("spent.ended", always, _ended),
    Sentence("spent.work", lambda spent: spent.done > 0, _work),
    Sentence("spent.saved", lambda spent: spent.pruned_epochs > 0, _saved),
    Sentence(
        "spent.nothing_saved",
        lambda spent: spent.done > 0 and not spent.pruned_epochs > 0,
        lambda _: "Pruning saved nothing: no trial was pruned.",
    ),
    Sentence(
        "spent.wrong",
        lambda spent: spent.spared > 0 and spent.most_wrong <= _SAYS_NOTHING,
        _wrong,
    ),
    Sentence(
        "spent.few_checks",
        lambda spent: spent.spared > 0 and spent.most_wrong > _SAYS_NOTHING,
        lambda spent: f"{_checks(spent)}; too few checks to tell how often pruning is wrong.",
    ),
    Sentence(
        "spent.no_check",
        lambda spent: spent.pruned_epochs > 0 and not spent.spared,
        lambda _: (
            "Whether pruning was right cannot be told: no trial that should have been pruned "
            "ran to its end as a check (pruner.spare says how many do)."
        ),
    ),
    Sentence(
        "spent.deaths",
        lambda spent: spent.deaths > 0,
        lambda spent: f"Workers died or fell silent with a trial {plural(spent.deaths, 'time')}.",
    ),
    ForEach(lambda spent: spent.causes[:_CAUSES], CAUSE),
)
