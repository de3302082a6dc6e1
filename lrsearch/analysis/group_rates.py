"""The learning rates that the parameter groups of a trial had."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lrsearch.analysis.study_data import TrialData

_MOST_GROUPS = 3
"""Besides the first one."""


def group_rates(trial: TrialData) -> dict[str, list[tuple[float, float]]]:
    """The rates of parameter groups at the start and end of each evaluation's steps, by name.

    The group with the schedule's own rate comes first. Groups whose rates are the same share an
    entry, with all their names. Of many groups the lowest and the highest are left besides the
    first one: that is what can be told apart in a figure.
    """
    pairs_of = [
        dict(zip(row.groups, zip(row.lr_start, row.lr_end, strict=True), strict=True))
        for row in trial.curve
    ]
    names = list(pairs_of[0]) if pairs_of else ["default"]
    groups = {
        name: [pairs[name] for pairs in pairs_of]
        for name in names
        if all(name in pairs for pairs in pairs_of)
    }
    names_of: dict[tuple[tuple[float, float], ...], list[str]] = {}
    for name, pairs in groups.items():
        names_of.setdefault(tuple(pairs), []).append(name)
    default, *others = names_of
    if len(others) > _MOST_GROUPS:
        others.sort(key=lambda pairs: max(map(max, pairs)))
        others = [others[0], others[-1]]
    return {", ".join(names_of[pairs]): list(pairs) for pairs in (default, *others)}
