"""Sentences on a confirmation: how sure its winner is, and what the test part says."""

from __future__ import annotations

from lrsearch.analysis.confirmed import (
    Confirmed,
    optimistic,
    over_words,
    range_words,
    value_words,
)
from lrsearch.analysis.sentence import ForEach, Sentence, Table, always
from lrsearch.confirm.result import HOPELESS, Candidate, Score, WinnerTest
from lrsearch.states import Outcome, in_words
from lrsearch.text.formatting import (
    listed,
    number,
    percent,
    plural,
    probability,
    sentence,
    to_error,
)

_NOTHING = 0.02
"""A difference, over its error, that is none."""
_MOST = 0.75
"""Share of the variance from which on more seeds would narrow an interval by an eighth at most."""


def _probability(finding: Confirmed) -> str:
    rival, winner = finding.next, finding.winner
    assert winner.estimate is not None
    assert rival is not None
    assert rival.estimate is not None
    gap = rival.estimate
    count = plural(len(finding.confirmation.candidates), "candidate")
    runs = plural(len(rival.values), "run")
    start = (
        f"It is the best of {count} with probability {probability(winner.estimate.probability)}; "
        f"next is trial {rival.trial} with {value_words(rival)}, mean of {runs}, "
    )
    if not winner.over.is_known:
        return f"{start}{number(gap.behind, 2)} worse."
    same = "seeds and samples" if winner.over.samples else "seeds"
    over = "both" if winner.over.samples and winner.over.seeds else same
    error = (gap.behind_high - gap.behind_low) / 2
    worse = _worse(gap.behind, error) if gap.behind else "equally good"
    low = _worse(gap.behind_low, error, other=gap.behind_high)
    high = _worse(gap.behind_high, error)
    return f"{start}{worse} on the same {same} (95 % interval over {over}: {low} to {high})."


def _worse(by: float, error: float, other: float | None = None) -> str:
    """`0.02 worse`, `0.02 better` or `0`; without the word where `other` has the same one."""
    if abs(by) <= _NOTHING * error:
        return "0"
    size = to_error(abs(by), error)
    if other is not None and (by < 0) == (other < 0):
        return size
    return f"{size} {'better' if by < 0 else 'worse'}"


def _mostly_samples(finding: Confirmed) -> str:
    over = finding.winner.over
    assert finding.winner.estimate is not None
    share = finding.winner.estimate.of_samples or 0.0
    return (
        f"{sentence(percent(share))} of the variance of that value comes from the {over.count:,} "
        f"validation samples: more of them would narrow the interval, more seeds hardly."
    )


def _given_up(finding: Confirmed) -> str:
    names = listed([f"trial {candidate.trial}" for candidate in finding.given_up])
    was = "was" if len(finding.given_up) == 1 else "were"
    return (
        f"{sentence(names)} {was} clearly worse and got no further runs (a probability below "
        f"{percent(HOPELESS)} of being the best)."
    )


def _test(finding: Confirmed) -> WinnerTest | None:
    return finding.confirmation.test


def _tested(finding: Confirmed) -> bool:
    test = _test(finding)
    return test is not None and bool(test.results)


def _scores(finding: Confirmed) -> str:
    test = _test(finding)
    assert test is not None
    runs, results = plural(len(test.scores), "run"), test.results
    overs = {score.over for score in results.values()}
    together = len(overs) == 1 and all(over.is_known for over in overs)
    scores = ", ".join(_score(name, score, together) for name, score in results.items())
    which = "a 95 % interval" if len(results) == 1 else "95 % intervals"
    over = f", with {which} {over_words(overs.pop())}" if together else ""
    mean = f"mean of {runs}" if len(test.scores) > 1 else "of 1 run"
    opened = (
        "the test part was opened once, for this"
        if test.opened == 1
        else f"the test part has been opened {test.opened} times, which makes it a little "
        f"optimistic, too"
    )
    return f"On the test part: {scores}, {mean}{over}; {opened}."


def _score(name: str, score: Score, is_short: bool) -> str:
    """A score and its interval; `is_short` leaves out what the interval is over."""
    if not score.over.is_known:
        return f"{name} {number(score.mean)}"
    mean, interval = range_words(score.mean, score.low, score.high)
    if is_short:
        return f"{name} {mean} ({interval})"
    return f"{name} {mean} (95 % interval {interval} {over_words(score.over)})"


def _no_data(finding: Confirmed) -> bool:
    return not _tested(finding) and finding.data is None


def _no_part(finding: Confirmed) -> bool:
    return not _tested(finding) and finding.data is not None and not finding.data.get("n_test")


def _has_part(finding: Confirmed) -> bool:
    return not _tested(finding) and bool((finding.data or {}).get("n_test"))


def _failed(finding: Confirmed) -> bool:
    test = _test(finding)
    ended = test is not None and test.outcome not in (None, Outcome.COMPLETE)
    return _has_part(finding) and ended


def _why_failed(finding: Confirmed) -> str:
    test = _test(finding)
    assert test is not None
    why = "".join((test.reason or "").strip().splitlines()[-1:])
    return f"There is no test score: the test {in_words(str(test.outcome))} ({why})."


def _broken(candidate: Candidate) -> str:
    return (
        f"Trial {candidate.trial} cannot be relied on: on fresh seeds, {candidate.broken} runs did "
        f"not come to their end."
    )


BROKEN: Table[Candidate] = (Sentence("confirmed.broken", always, _broken),)

CONFIRMED: Table[Confirmed] = (
    Sentence("confirmed.probability", lambda finding: finding.next is not None, _probability),
    Sentence(
        "confirmed.samples",
        lambda finding: (
            finding.winner.estimate is not None
            and (finding.winner.estimate.of_samples or 0.0) > _MOST
        ),
        _mostly_samples,
    ),
    Sentence(
        "confirmed.samples_unknown",
        lambda finding: finding.winner.over.unknown is not None,
        lambda finding: (
            f"How far other validation samples would move it is not known: "
            f"{finding.winner.over.unknown}."
        ),
    ),
    Sentence(
        "confirmed.found", always, lambda finding: f"{sentence(optimistic(finding.confirmation))}."
    ),
    Sentence("confirmed.given_up", lambda finding: bool(finding.given_up), _given_up),
    ForEach(lambda finding: finding.broken, BROKEN),
    Sentence("confirmed.test", _tested, _scores),
    Sentence(
        "confirmed.no_test_data",
        _no_data,
        lambda _: (
            "There is no test score: lrsearch does not know the test data of your own objective."
        ),
    ),
    Sentence(
        "confirmed.no_test_part",
        _no_part,
        lambda _: "There is no test score: these data have no test part.",
    ),
    Sentence("confirmed.test_failed", _failed, _why_failed),
    Sentence(
        "confirmed.test_open",
        lambda finding: _has_part(finding) and not _failed(finding),
        lambda _: "The test score is not there yet.",
    ),
)
