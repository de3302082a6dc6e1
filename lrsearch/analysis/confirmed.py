"""A confirmation in plain sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lrsearch.analysis.auxiliary_runs import confirming
from lrsearch.confirm.result import Candidate, Confirmation
from lrsearch.settings import ConfirmSettings
from lrsearch.states import Outcome, WorkState
from lrsearch.text.formatting import listed, number, plural, probability, sentence, the_best


def still_to_come(confirm: ConfirmSettings | None, done: int, total: int) -> str:
    """Describe how the luck in a search's best value will be measured.

    `done` of `total` trials have ended.
    """
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


def progress_words(confirmation: Confirmation) -> str:
    """`confirming the best 3: 4 of 9 runs`."""
    if (
        confirmation.is_finished
        and confirmation.test is not None
        and confirmation.test.state != WorkState.DONE
    ):
        return "testing the confirmed winner"
    return confirming(len(confirmation.search_values), confirmation.done, len(confirmation.wanted))


def value_words(candidate: Candidate) -> str:
    """`0.0735 (95 % interval 0.0711 to 0.0759)`; a dash without a value."""
    if candidate.estimate is None:
        return candidate.broken or "-"
    low, high = number(candidate.estimate.low), number(candidate.estimate.high)
    return f"{number(candidate.estimate.mean)} (95 % interval {low} to {high})"


def headline(confirmation: Confirmation) -> str:
    """The confirmed value of the winner, in a line without its recipe."""
    winner = confirmation.winner
    assert winner is not None, "only called where there is a winner"
    return (
        f"{confirmation.metric} {value_words(winner)} on fresh seeds, "
        f"mean of {plural(len(winner.values), 'run')}"
    )


def confirmed_lines(confirmation: Confirmation, data: Mapping[str, Any] | None) -> list[str]:
    """Return further lines on a confirmed winner. `data` is that of the study's record."""
    return [
        *_probability(confirmation),
        f"{sentence(optimistic(confirmation))}.",
        *_others(confirmation),
        score_words(confirmation, data),
    ]


def optimistic(confirmation: Confirmation) -> str:
    """Describe the winner's value in the search, whether it held, and the luck in the lead."""
    winner = confirmation.winner
    assert winner is not None, "only called where there is a winner"
    said = f"found in the search: {number(winner.search_value)}{_held(confirmation, winner)}"
    if winner.trial != confirmation.leader:
        leader = next(
            candidate
            for candidate in confirmation.candidates
            if candidate.trial == confirmation.leader
        )
        said += f"; its best, trial {leader.trial}, had {number(leader.search_value)}"
        said += _held(confirmation, leader)
    if confirmation.lead is None or confirmation.luck is None:
        return said
    then, now = confirmation.lead
    others = (
        "the other candidate" if len(confirmation.candidates) == 2 else "the mean of the others"
    )
    fresh = f"ahead by {number(now, 2)}" if now >= 0 else f"behind by {number(-now, 2)}"
    luck = number(confirmation.luck, 2) if confirmation.luck > 0 else "none"
    return (
        f"{said}; luck in its lead: {luck} (in the search ahead of {others} by "
        f"{number(then, 2)}, on fresh seeds {fresh})"
    )


def _held(confirmation: Confirmation, candidate: Candidate) -> str:
    """Return, in brackets, whether the value of the search was too good."""
    if candidate.estimate is None:
        return ""
    worse = (candidate.estimate.mean - candidate.search_value) * (
        1 if confirmation.mode == "min" else -1
    )
    if worse <= 0:
        return " (it held: fresh seeds were no worse)"
    if confirmation.tried == 1:
        return f" (fresh seeds were worse by {number(worse, 2)})"
    which = "the best" if candidate.trial == confirmation.leader else "one of the best"
    return f" (optimistic: {which} of {confirmation.tried})"


def _probability(confirmation: Confirmation) -> list[str]:
    rivals = [
        candidate for candidate in confirmation.candidates[1:] if candidate.estimate is not None
    ]
    winner = confirmation.winner
    if winner is None or winner.estimate is None or not rivals:
        return []
    second = rivals[0]
    assert second.estimate is not None
    gap = second.estimate
    return [
        f"It is the best of {plural(len(confirmation.candidates), 'candidate')} with probability "
        f"{probability(winner.estimate.probability)}; next is trial {second.trial} with "
        f"{value_words(second)}, mean of {plural(len(second.values), 'run')}, "
        f"{number(gap.behind, 2)} worse on the same seeds (95 % interval "
        f"{number(gap.behind_low, 2)} to {number(gap.behind_high, 2)})."
    ]


def _others(confirmation: Confirmation) -> list[str]:
    """Name the candidates that were given up and those whose runs failed."""
    lines = []
    given_up = [
        f"trial {candidate.trial}"
        for candidate in confirmation.candidates
        if candidate.given_up and not candidate.broken
    ]
    if given_up:
        was = "was" if len(given_up) == 1 else "were"
        lines.append(
            f"{sentence(listed(given_up))} {was} clearly worse and got no further runs (a "
            f"probability below 2 % of being the best)."
        )
    lines += [
        f"Trial {candidate.trial} cannot be relied on: on fresh seeds, {candidate.broken} runs did "
        f"not come to their end."
        for candidate in confirmation.candidates
        if candidate.broken
    ]
    return lines


def score_words(confirmation: Confirmation, data: Mapping[str, Any] | None) -> str:
    """The test score of the winner, or why there is none."""
    test = confirmation.test
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
