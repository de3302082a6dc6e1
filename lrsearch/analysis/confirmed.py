"""A confirmation in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lrsearch.analysis.auxiliary_runs import confirming
from lrsearch.config.settings import ConfirmSettings
from lrsearch.confirm.result import Candidate, Confirmation
from lrsearch.formatting import listed, number, plural, probability, sentence, the_best
from lrsearch.states import Outcome, WorkState


def still_to_come(confirm: ConfirmSettings | None, done: int, total: int) -> str:
    """How the luck in a search's best will be known, where `done` of `total` trials have ended."""
    if confirm is None:
        return (
            "To find out how much of it was luck, run the same command again with confirm.top=3: "
            "the best three are trained again on fresh seeds, outside study.n_trials."
        )
    again = (
        f"{the_best(min(confirm.top, total))} will be trained again on "
        f"{plural(confirm.seeds, 'fresh seed')}: that tells how much of it was luck."
    )
    if done == total:
        return f"Run the same command once more, and {again}"
    return f"Once the search has ended, {again}"


def progress_words(found: Confirmation) -> str:
    """`confirming the best 3: 4 of 9 runs`."""
    if found.is_finished and found.test is not None and found.test.state != WorkState.DONE:
        return "testing the confirmed winner"
    return confirming(len(found.found), found.done, len(found.wanted))


def value_words(one: Candidate) -> str:
    """`0.0735 (95 % interval 0.0711 to 0.0759)`; a dash without a value."""
    if one.estimate is None:
        return one.broken or "-"
    low, high = number(one.estimate.low), number(one.estimate.high)
    return f"{number(one.estimate.mean)} (95 % interval {low} to {high})"


def headline(found: Confirmation) -> str:
    """The confirmed value of the winner, in a line without its recipe."""
    winner = found.winner
    assert winner is not None, "asked for where there is one"
    return (
        f"{found.metric} {value_words(winner)} on fresh seeds, "
        f"mean of {plural(len(winner.values), 'run')}"
    )


def confirmed_lines(found: Confirmation, data: Mapping[str, Any] | None) -> list[str]:
    """What else there is to say of a confirmed winner. `data` are those of the study's record."""
    return [
        *_probability(found),
        f"{sentence(optimistic(found))}.",
        *_others(found),
        score_words(found, data),
    ]


def optimistic(found: Confirmation) -> str:
    """What the search had said of the winner, whether that held, and how much of the leader's lead
    was luck.
    """
    winner = found.winner
    assert winner is not None, "asked for where there is one"
    said = f"found in the search: {number(winner.found)}{_held(found, winner)}"
    if winner.trial != found.leader:
        leader = next(one for one in found.candidates if one.trial == found.leader)
        said += f"; its best, trial {leader.trial}, had {number(leader.found)}"
        said += _held(found, leader)
    if found.lead is None or found.luck is None:
        return said
    then, now = found.lead
    others = "the other candidate" if len(found.candidates) == 2 else "the mean of the others"
    fresh = f"ahead by {number(now, 2)}" if now >= 0 else f"behind by {number(-now, 2)}"
    luck = number(found.luck, 2) if found.luck > 0 else "none"
    return (
        f"{said}; luck in its lead: {luck} (in the search ahead of {others} by "
        f"{number(then, 2)}, on fresh seeds {fresh})"
    )


def _held(found: Confirmation, one: Candidate) -> str:
    """Whether the value of the search was too good, in brackets."""
    if one.estimate is None:
        return ""
    worse = (one.estimate.mean - one.found) * (1 if found.mode == "min" else -1)
    if worse <= 0:
        return " (it held: fresh seeds were no worse)"
    if found.tried == 1:
        return f" (fresh seeds were worse by {number(worse, 2)})"
    which = "the best" if one.trial == found.leader else "one of the best"
    return f" (optimistic: {which} of {found.tried})"


def _probability(found: Confirmation) -> list[str]:
    rivals = [one for one in found.candidates[1:] if one.estimate is not None]
    winner = found.winner
    if winner is None or winner.estimate is None or not rivals:
        return []
    second = rivals[0]
    assert second.estimate is not None
    gap = second.estimate
    return [
        f"It is the best of {plural(len(found.candidates), 'candidate')} with probability "
        f"{probability(winner.estimate.probability)}; next is trial {second.trial} with "
        f"{value_words(second)}, mean of {plural(len(second.values), 'run')}, "
        f"{number(gap.behind, 2)} worse on the same seeds (95 % interval "
        f"{number(gap.behind_low, 2)} to {number(gap.behind_high, 2)})."
    ]


def _others(found: Confirmation) -> list[str]:
    """Who was given up, and who broke."""
    lines = []
    given_up = [f"trial {one.trial}" for one in found.candidates if one.given_up and not one.broken]
    if given_up:
        was = "was" if len(given_up) == 1 else "were"
        lines.append(
            f"{sentence(listed(given_up))} {was} clearly worse and got no further runs (a "
            f"probability below 2 % of being the best)."
        )
    lines += [
        f"Trial {one.trial} cannot be relied on: on fresh seeds, {one.broken} runs did not come to "
        f"their end."
        for one in found.candidates
        if one.broken
    ]
    return lines


def score_words(found: Confirmation, data: Mapping[str, Any] | None) -> str:
    """The test score of the winner, or why there is none."""
    test = found.test
    if test is not None and test.means:
        scores = ", ".join(f"{name} {number(value)}" for name, value in test.means.items())
        opened = (
            "the test part was opened once, for this"
            if test.opened == 1
            else f"the test part has been opened {test.opened} times, which makes it a little "
            f"optimistic, too"
        )
        return f"On the test part: {scores}, mean of {plural(len(test.scores), 'run')}; {opened}."
    if data is None:
        return "There is no test score: lrsearch does not know the test data of your own objective."
    if not data.get("n_test"):
        return "There is no test score: these data have no test part."
    if test is not None and test.outcome not in (None, Outcome.COMPLETE):
        why = (test.reason or "").strip().splitlines()[-1:]
        return f"There is no test score: the test {test.outcome} ({''.join(why)})."
    return "The test score is not there yet."
