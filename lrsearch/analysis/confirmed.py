"""A confirmation as a finding, and the phrases about it that several sentences share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lrsearch.analysis.auxiliary_runs import confirming
from lrsearch.confirm.result import Candidate, Confirmation, Over
from lrsearch.settings import ConfirmSettings
from lrsearch.states import WorkState
from lrsearch.text.formatting import number, plural, the_best, to_error


@dataclass(frozen=True)
class Confirmed:
    """A confirmation that has a winner."""

    confirmation: Confirmation
    data: Mapping[str, Any] | None
    """The study's data as its record has them; None for the user's own objective."""

    @property
    def winner(self) -> Candidate:
        """The confirmed best candidate."""
        winner = self.confirmation.winner
        assert winner is not None, "only made where there is a winner"
        return winner

    @property
    def next(self) -> Candidate | None:
        """The candidate that is the next likely to be the best; None where no other is left."""
        others = self.confirmation.candidates[1:]
        return next((other for other in others if other.estimate is not None), None)

    @property
    def given_up(self) -> Sequence[Candidate]:
        """The candidates that got no further runs because they were clearly worse."""
        return [
            candidate
            for candidate in self.confirmation.candidates
            if candidate.given_up and not candidate.broken
        ]

    @property
    def broken(self) -> Sequence[Candidate]:
        """The candidates of which a run did not come to its end."""
        return [candidate for candidate in self.confirmation.candidates if candidate.broken]


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


def over_words(over: Over) -> str:
    """`over training seeds and over the 88 validation samples`: what an interval is over."""
    samples = "" if over.count is None else f"{over.count:,} {over.part} samples"
    if over.samples:
        also = "over training seeds and " if over.seeds else ""
        return f"{also}over the {samples}"
    return f"over training seeds{f', on these {samples}' if samples else ''}"


def range_words(mean: float, low: float, high: float) -> tuple[str, str]:
    """A value and its interval, `0.0735` and `0.0711 to 0.0759`, with the digits that it allows."""
    reach = (high - low) / 2
    return to_error(mean, reach), f"{to_error(low, reach)} to {to_error(high, reach)}"


def short_value(candidate: Candidate) -> str:
    """`0.0735 (0.0711 to 0.0759)`, where a heading says what the interval is over; `-` if none."""
    if candidate.estimate is None:
        return candidate.broken or "-"
    found = candidate.estimate
    if not candidate.over.is_known:
        return number(found.mean)
    mean, interval = range_words(found.mean, found.low, found.high)
    return f"{mean} ({interval})"


def value_words(candidate: Candidate) -> str:
    """`0.0735 (95 % interval 0.0711 to 0.0759 over training seeds)`; a dash without a value."""
    found = candidate.estimate
    if found is None:
        return candidate.broken or "-"
    if not candidate.over.is_known:
        return f"{number(found.mean)} (of one training, which does not tell how far it may be off)"
    mean, interval = range_words(found.mean, found.low, found.high)
    return f"{mean} (95 % interval {interval} {over_words(candidate.over)})"


def headline(confirmation: Confirmation) -> str:
    """The confirmed value of the winner, in a line without its recipe."""
    winner = confirmation.winner
    assert winner is not None, "only called where there is a winner"
    return (
        f"{confirmation.metric} {value_words(winner)} on fresh seeds, "
        f"mean of {plural(len(winner.values), 'run')}"
    )


def optimistic(confirmation: Confirmation) -> str:
    """Describe the winner's value in the search, whether it held, and the luck in the lead."""
    winner = confirmation.winner
    assert winner is not None, "only called where there is a winner"
    said = f"found in the search: {number(winner.search_value)}{_held(confirmation, winner)}"
    of_lead = "its lead"
    if winner.trial != confirmation.leader:
        leader = next(
            candidate
            for candidate in confirmation.candidates
            if candidate.trial == confirmation.leader
        )
        said += (
            f"; the best of the search, trial {leader.trial}, had {number(leader.search_value)}"
            f"{_held(confirmation, leader)}"
        )
        of_lead = f"the lead of trial {leader.trial}"
    if confirmation.lead is None or confirmation.luck is None:
        return said
    then, now = confirmation.lead
    others = (
        "the other candidate" if len(confirmation.candidates) == 2 else "the mean of the others"
    )
    if now == 0:
        fresh = "equal"
    else:
        fresh = f"ahead by {number(now, 2)}" if now > 0 else f"behind by {number(-now, 2)}"
    luck = number(confirmation.luck, 2) if confirmation.luck > 0 else "none"
    return (
        f"{said}; luck in {of_lead}: {luck} (in the search ahead of {others} by "
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
