"""Sentences on which scheduler or optimizer is best at equal tuning."""

from __future__ import annotations

from collections.abc import Sequence

from lrsearch.analysis.families import ALL, LEAST_TRIES, Comparison, EqualTuning, Option
from lrsearch.analysis.sentence import ForEach, Sentence, Table
from lrsearch.text.formatting import listed, number, plural, probability, sentence, to_error


def _where(comparison: Comparison) -> str:
    if comparison.within is None:
        return ""
    return f"{'over' if comparison.within == ALL else 'with'} {comparison.within}, "


def _over(comparison: Comparison) -> str:
    return f"over trials{' and training seeds' if comparison.over_seeds else ''}"


def _value(option: Option) -> str:
    assert option.expected is not None
    return to_error(option.expected.value, option.expected.error)


def _lead(comparison: Comparison) -> str:
    """The expected best of the first, and its lead over the second with its interval."""
    first, second = comparison.compared[:2]
    behind = second.behind
    assert behind is not None
    low, lead, high = (to_error(x, behind.error) for x in (behind.low, behind.value, behind.high))
    return (
        f"its expected best {comparison.metric.name} is {_value(first)}, better than that of "
        f"{second.name} by {lead} (95 % interval {_over(comparison)}: {low} to {high})"
    )


def _is_tie(comparison: Comparison) -> bool:
    """Whether the two best expect equal values, with nothing to say how far these vary."""
    behind = comparison.compared[1].behind
    return behind is not None and behind.value == 0


def _has_winner(comparison: Comparison) -> bool:
    return comparison.winner is not None


def _has_none(comparison: Comparison) -> bool:
    return len(comparison.compared) > 1 and comparison.winner is None


def _winner(comparison: Comparison) -> str:
    winner = comparison.winner
    assert winner is not None
    return sentence(
        f"{_where(comparison)}the best {comparison.noun} at equal tuning is {winner.name} "
        f"(probability {probability(winner.probability or 0.0)}): {_lead(comparison)}."
    )


def _no_winner(comparison: Comparison) -> str:
    first = comparison.compared[0]
    among = listed([option.name for option in comparison.contenders])
    return sentence(
        f"{_where(comparison)}no clear winner among {among} at equal tuning: {first.name} comes "
        f"first (probability of being best {probability(first.probability or 0.0)}), "
        f"{_lead(comparison)}."
    )


def _tie(comparison: Comparison) -> str:
    first, second = comparison.compared[:2]
    among = listed([option.name for option in comparison.contenders])
    return sentence(
        f"{_where(comparison)}no clear winner among {among} at equal tuning: {first.name} and "
        f"{second.name} tie, with an expected best {comparison.metric.name} of {_value(first)} "
        f"each."
    )


def _beaten(comparison: Comparison) -> list[str]:
    return [option.name for option in comparison.compared if not option.may_be_best]


def _behind(comparison: Comparison) -> str:
    return f"Clearly behind {comparison.compared[0].name}: {listed(_beaten(comparison))}."


def _too_few(comparison: Comparison) -> list[str]:
    return [
        f"{option.name} ({option.tries})"
        for option in comparison.options
        if option.expected is None and option.tries < LEAST_TRIES
    ]


def _short(comparison: Comparison) -> str:
    few = listed(_too_few(comparison))
    return sentence(
        f"{_where(comparison)}too few trials to compare (fewer than {LEAST_TRIES}): {few}."
    )


def _nothing(comparison: Comparison) -> str:
    enough = [option for option in comparison.options if option.tries >= LEAST_TRIES]
    if len(enough) > 1:
        why = _lacking([comparison])
    else:
        who = f"only {enough[0].name} has had" if enough else f"no {comparison.noun} has had"
        why = f"{who} the {LEAST_TRIES} trials that it takes"
    return sentence(f"{_where(comparison)}no winner can be named: {why}.")


def _lacking(comparisons: Sequence[Comparison]) -> str:
    """Why options cannot be compared although they have had enough trials."""
    options = [option for comparison in comparisons for option in comparison.options]
    if not any(option.values for option in options):
        return "no trial has run to its end"
    noun = comparisons[0].noun
    return f"no two {noun}s have had the {LEAST_TRIES} different recipes that it takes"


def _has_enough(comparison: Comparison) -> bool:
    """Whether options have had enough trials, counting those of one recipe one by one."""
    return sum(option.tries >= LEAST_TRIES for option in comparison.options) > 1


def _only(comparison: Comparison) -> str:
    only = comparison.options[0]
    return sentence(
        f"{_where(comparison)}only {only.name} was tried ({plural(only.tries, 'trial')}): "
        f"there is nothing to compare."
    )


def _is_incomparable(comparison: Comparison) -> bool:
    return len(comparison.options) > 1 and len(comparison.compared) < 2


COMPARISON: Table[Comparison] = (
    Sentence("equal_tuning.winner", _has_winner, _winner),
    Sentence(
        "equal_tuning.no_winner",
        lambda comparison: _has_none(comparison) and not _is_tie(comparison),
        _no_winner,
    ),
    Sentence(
        "equal_tuning.tie",
        lambda comparison: _has_none(comparison) and _is_tie(comparison),
        _tie,
    ),
    Sentence(
        "equal_tuning.behind",
        lambda comparison: _has_none(comparison) and bool(_beaten(comparison)),
        _behind,
    ),
    Sentence("equal_tuning.nothing", _is_incomparable, _nothing),
    Sentence("equal_tuning.only", lambda comparison: len(comparison.options) == 1, _only),
    Sentence(
        "equal_tuning.short",
        lambda comparison: len(comparison.options) > 1 and bool(_too_few(comparison)),
        _short,
    ),
)


def _spoken_of(finding: EqualTuning) -> tuple[Comparison, ...]:
    """The comparisons that are told one by one: of several, those that compare something."""
    return finding.comparisons if len(finding.comparisons) == 1 else finding.compared


def _not_compared(finding: EqualTuning) -> str:
    names = listed([str(comparison.within) for comparison in finding.not_compared])
    why = f"no two {finding.noun}s have had the {LEAST_TRIES} trials that it takes"
    if any(map(_has_enough, finding.not_compared)):
        why = _lacking(finding.not_compared)
    return f"Nothing can be compared with {names}: {why}."


def _first_compared(finding: EqualTuning) -> Comparison:
    return finding.compared[0]


def _how(finding: EqualTuning) -> str:
    noun = finding.noun
    counts = sorted({comparison.tries or 0 for comparison in finding.compared})
    each = "" if len(counts) == 1 else f", the same for all {noun}s that are compared"
    return (
        f"Equal tuning: the expected best is the mean best of {_span(counts)} trials{each}, over "
        f"all such choices among the trials of {'an' if noun == 'optimizer' else 'a'} {noun}; so "
        f"none wins by being tried more often. A pruned trial counts with its forecast, one that "
        f"diverged or ran out of memory as the worst complete one."
    )


def _epochs(finding: EqualTuning) -> str:
    options = [option for comparison in finding.compared for option in comparison.compared]
    return (
        f"The {finding.noun}s were given the same epochs "
        f"({_span([option.epochs for option in options])}), which bought "
        f"{_span([option.tries for option in options])} trials: more where trials were pruned. "
        f"Each is judged by the best to be expected of half of its trials."
    )


def _approximate(finding: EqualTuning) -> str:
    shared = "families" if finding.noun == "scheduler" else "[optimizer, scheduler]"
    return (
        f"The intervals and probabilities are approximate: the {finding.sampler} sampler chose "
        f"trials by the values of earlier ones. sampler=random with study.balance={shared} "
        f"compares strictly."
    )


def _untried(finding: EqualTuning) -> str:
    return (
        f"In the space, but never tried: {listed(finding.untried)}. Nothing is known of "
        f"{'it' if len(finding.untried) == 1 else 'them'}; study.balance gives each its share."
    )


def _span(values: list[float] | list[int]) -> str:
    """`4`, or `4 to 6` where they differ as they are shown."""
    low, high = number(min(values)), number(max(values))
    return low if low == high else f"{low} to {high}"


EQUAL_TUNING: Table[EqualTuning] = (
    Sentence(
        "equal_tuning.none",
        lambda finding: not finding.comparisons,
        lambda finding: f"No trial has given a result, so no {finding.noun}s can be compared.",
    ),
    ForEach(_spoken_of, COMPARISON),
    Sentence(
        "equal_tuning.not_compared",
        lambda finding: len(finding.comparisons) > 1 and bool(finding.not_compared),
        _not_compared,
    ),
    Sentence(
        "equal_tuning.how",
        lambda finding: bool(finding.compared) and not _first_compared(finding).balanced,
        _how,
    ),
    Sentence(
        "equal_tuning.epochs",
        lambda finding: bool(finding.compared) and _first_compared(finding).balanced,
        _epochs,
    ),
    Sentence(
        "equal_tuning.approximate",
        lambda finding: bool(finding.compared) and finding.sampler is not None,
        _approximate,
    ),
    Sentence(
        "equal_tuning.untried",
        lambda finding: bool(finding.untried) and bool(finding.comparisons),
        _untried,
    ),
)
