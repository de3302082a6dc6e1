"""Sentences on where training breaks."""

from __future__ import annotations

import statistics

from lrsearch.analysis.frontier import Border, Frontier, Reach
from lrsearch.analysis.sentence import ForEach, Sentence, Table
from lrsearch.text.formatting import listed, number, percent, plural


def _diverged(frontier: Frontier) -> str:
    share = percent(frontier.diverged / frontier.trials)
    text = f"{frontier.diverged} of {plural(frontier.trials, 'trial')} diverged ({share})"
    if not frontier.steps:
        return f"{text}."
    first, last = frontier.steps[0], frontier.steps[-1]
    if first == last:
        return f"{text}, at step {number(last)}."
    half = number(float(statistics.median(frontier.steps)))
    return f"{text}, half of them by step {half}, the last at step {number(last)}."


def _none_diverged(frontier: Frontier) -> str:
    """That no trial diverged, without an end of the sentence."""
    if frontier.trials == 1:
        return "The only trial did not diverge"
    return f"None of {plural(frontier.trials, 'trial')} diverged"


def _tried(frontier: Frontier) -> str:
    return listed(
        [
            f"{number(reach.highest, 2)} with {reach.optimizer} ({plural(reach.trials, 'trial')})"
            for reach in frontier.reached
        ]
    )


def _nothing(frontier: Frontier) -> str:
    """How trials learned nothing, and at which rates."""
    where = [
        f"{_span(reach)} with {reach.optimizer} ({plural(len(reach.nothing), 'trial')})"
        for reach in frontier.reached
        if reach.nothing
    ]
    rates = sum(len(reach.nothing) for reach in frontier.reached)
    at = "a learning rate" if rates == 1 else "learning rates"
    return (
        f"learned nothing, ending no better than by guessing or than at the first evaluation: at "
        f"{at} of {listed(where)}."
    )


def _span(reach: Reach) -> str:
    ends = dict.fromkeys(number(rate, 2) for rate in (reach.nothing[0], reach.nothing[-1]))
    return " to ".join(ends)


def _some_learned_nothing(frontier: Frontier) -> str:
    return f"{_none_diverged(frontier)}, but {len(frontier.nothing)} {_nothing(frontier)}"


def _learned(frontier: Frontier) -> list[str]:
    return [
        f"{number(reach.learned, 2)} with {reach.optimizer}"
        for reach in frontier.reached
        if reach.learned is not None
    ]


def _beyond(frontier: Frontier) -> str:
    ends = [
        f"with {reach.optimizer} to {number(reach.end, 2)}, "
        f"{number(reach.end / reach.highest, 2)} times as far"
        for reach in frontier.beyond
    ]
    return (
        f"The space goes on beyond that ({listed(ends)}): whether training breaks there is not "
        f"known."
    )


def _calm(frontier: Frontier) -> bool:
    """Whether trials have ended, and none of them diverged."""
    return frontier.trials > 0 and not frontier.diverged


def _of_border(border: Border) -> str:
    assert border.lowest_diverged is not None
    text = (
        f"{border.optimizer} at batch size {border.batch_size}: the smallest learning rate that "
        f"diverged is {number(border.lowest_diverged, 2)}"
    )
    if border.highest_survived is None:
        text += "; none survived"
    elif border.highest_survived < border.lowest_diverged:
        text += f", the largest that survived {number(border.highest_survived, 2)}"
    else:
        text += (
            f", but {number(border.highest_survived, 2)} survived with other parameters: the rate "
            f"alone does not decide"
        )
    return f"{text} ({border.diverged} of {plural(border.trials, 'trial')})."


def _memory(frontier: Frontier) -> str:
    sizes = [f"{size} ({plural(count, 'trial')})" for size, count in frontier.out_of_memory]
    return f"Memory ran out at batch size {listed(sizes)}."


BORDER: Table[Border] = (
    Sentence("frontier.border", lambda border: border.lowest_diverged is not None, _of_border),
)

FRONTIER: Table[Frontier] = (
    Sentence(
        "frontier.none",
        lambda frontier: not frontier.trials and not frontier.out_of_memory,
        lambda _: "No trial has given a result, so where training breaks is not known.",
    ),
    Sentence("frontier.diverged", lambda frontier: frontier.diverged > 0, _diverged),
    ForEach(lambda frontier: frontier.borders, BORDER),
    Sentence(
        "frontier.nothing_too",
        lambda frontier: frontier.diverged > 0 and bool(frontier.nothing),
        lambda frontier: f"{plural(len(frontier.nothing), 'further trial')} {_nothing(frontier)}",
    ),
    Sentence(
        "frontier.nothing",
        lambda frontier: _calm(frontier) and bool(frontier.nothing),
        _some_learned_nothing,
    ),
    Sentence(
        "frontier.learned",
        lambda frontier: _calm(frontier) and bool(frontier.nothing) and bool(_learned(frontier)),
        lambda frontier: (
            f"The highest learning rate that learned something: {listed(_learned(frontier))}."
        ),
    ),
    Sentence(
        "frontier.calm",
        lambda frontier: _calm(frontier) and not frontier.nothing,
        lambda frontier: (
            f"{_none_diverged(frontier)}, up to the highest learning rate tried: "
            f"{_tried(frontier)}."
        ),
    ),
    Sentence(
        "frontier.beyond", lambda frontier: _calm(frontier) and bool(frontier.beyond), _beyond
    ),
    Sentence(
        "frontier.end",
        lambda frontier: _calm(frontier) and not frontier.nothing and not frontier.beyond,
        lambda _: "That is the end of the space: to see training break takes a wider one.",
    ),
    Sentence("frontier.out_of_memory", lambda frontier: bool(frontier.out_of_memory), _memory),
)
