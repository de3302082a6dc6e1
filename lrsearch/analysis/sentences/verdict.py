"""The verdict in one or two lines."""

from __future__ import annotations

from lrsearch.analysis.sentence import Sentence, Table, said
from lrsearch.analysis.verdict import (
    FAR,
    MAY_BE_LUCK,
    SURE,
    Reference,
    Rival,
    Verdict,
)
from lrsearch.text.formatting import listed, number, probability, to_error

_MOST_NAMED = 3
"""Number of tied trials that are named."""


def _has_best(verdict: Verdict) -> bool:
    return verdict.best is not None


def _is_reference(verdict: Verdict) -> bool:
    """Whether the best trial is itself the one that it would be compared with."""
    return verdict.reference is not None and verdict.reference.trial == verdict.best


def _use(verdict: Verdict) -> str:
    if not _is_reference(verdict):
        return f"Use trial {verdict.best}{'' if verdict.ended else ' for now'}."
    which = _named(_reference(verdict))
    return (
        f"Use trial {verdict.best}{'' if verdict.ended else ' for now'}, {which}: nothing else "
        f"that was tried is better."
    )


def _reference(verdict: Verdict) -> Reference:
    assert verdict.reference is not None
    return verdict.reference


def _rival(verdict: Verdict) -> Rival:
    assert verdict.rival is not None
    return verdict.rival


def _named(reference: Reference) -> str:
    return "the default" if reference.is_default else "the setting tried first"


def _compared(verdict: Verdict) -> bool:
    """Whether there is another trial that it is compared with."""
    return verdict.reference is not None and not _is_reference(verdict)


def _ratio(verdict: Verdict) -> float | None:
    """The lead over the reference in standard deviations of such a lead; None if unknown."""
    reference = verdict.reference
    if reference is None or reference.noise is None:
        return None
    return reference.lead / reference.noise


def _against(verdict: Verdict) -> str:
    """`the default (trial 0: 0.351 against 0.073)`."""
    reference = _reference(verdict)
    its, best = (to_error(value, reference.noise) for value in (reference.value, verdict.value))
    values = f"both {best}" if its == best else f"{its} against {best}"
    return f"{_named(reference)} (trial {reference.trial}: {values})"


def _better(verdict: Verdict) -> str:
    ratio = _ratio(verdict)
    far = "far " if ratio is not None and ratio >= FAR else ""
    return f"It is {far}better than {_against(verdict)}."


def _is_better(verdict: Verdict) -> bool:
    ratio = _ratio(verdict)
    if not _compared(verdict) or _reference(verdict).lead <= 0:
        return False
    return ratio is None or ratio > SURE


def _is_tied(verdict: Verdict) -> bool:
    return verdict.rival is not None and bool(verdict.rival.ties)


def _tied(verdict: Verdict) -> str:
    ties = _rival(verdict).ties
    value = f"{verdict.metric} {number(verdict.value)}"
    if len(ties) > _MOST_NAMED:
        return f"It is a tie with {len(ties)} other trials at {value}: any of them will do."
    names = listed([f"trial {trial}" for trial in ties])
    which = "either" if len(ties) == 1 else "any of them"
    return f"It is a tie with {names} at {value}: {which} will do."


def _leads(verdict: Verdict) -> bool:
    return verdict.rival is not None and not verdict.rival.ties and verdict.rival.lead > 0


def _known(verdict: Verdict) -> bool:
    return _leads(verdict) and _rival(verdict).luck is not None


def _may_be_luck(verdict: Verdict) -> bool:
    luck = verdict.rival.luck if verdict.rival is not None else None
    return _known(verdict) and luck is not None and luck >= MAY_BE_LUCK


def _luck(verdict: Verdict) -> str:
    rival = _rival(verdict)
    assert rival.luck is not None
    least = "" if rival.confirmed else "at least "
    other = f"trial {rival.trial}" if rival.candidates == 2 else "another candidate"
    return (
        f"Its lead over trial {rival.trial} may be luck: {other} is better with probability "
        f"{least}{probability(rival.luck)}."
    )


def _no_luck(verdict: Verdict) -> str:
    rival = _rival(verdict)
    assert rival.luck is not None
    if rival.confirmed:
        other = f"trial {rival.trial}" if rival.candidates == 2 else "another candidate"
        return (
            f"Its lead over trial {rival.trial} is hardly luck: {other} is better with probability "
            f"{probability(rival.luck)}."
        )
    return (
        f"Its lead over trial {rival.trial} is larger than seed noise, but it was picked as the "
        f"best of {verdict.complete}."
    )


def _unknown(verdict: Verdict) -> str:
    return (
        f"Whether its lead over trial {_rival(verdict).trial} is luck is not known: no recipe was "
        f"trained with two seeds."
    )


VERDICT: Table[Verdict] = (
    Sentence(
        "verdict.none",
        lambda verdict: not _has_best(verdict),
        lambda verdict: (
            "No trial has run to its end, so there is no recipe to recommend"
            f"{'' if verdict.ended else ' yet'}."
        ),
    ),
    Sentence("verdict.use", _has_best, _use),
    Sentence("verdict.better", _is_better, _better),
    Sentence(
        "verdict.hardly_better",
        lambda verdict: (
            _compared(verdict) and _reference(verdict).lead > 0 and not _is_better(verdict)
        ),
        lambda verdict: f"It is no more than seed noise better than {_against(verdict)}.",
    ),
    Sentence(
        "verdict.not_better",
        lambda verdict: _compared(verdict) and _reference(verdict).lead <= 0,
        lambda verdict: f"It is no better than {_against(verdict)}.",
    ),
    Sentence("verdict.tie", _is_tied, _tied),
    Sentence(
        "verdict.even",
        lambda verdict: (
            verdict.rival is not None and not verdict.rival.ties and verdict.rival.lead <= 0
        ),
        lambda verdict: (
            f"Trial {_rival(verdict).trial} is as good, as far as the runs on fresh seeds tell."
        ),
    ),
    Sentence("verdict.luck", _may_be_luck, _luck),
    Sentence(
        "verdict.no_luck", lambda verdict: _known(verdict) and not _may_be_luck(verdict), _no_luck
    ),
    Sentence("verdict.unknown", lambda verdict: _leads(verdict) and not _known(verdict), _unknown),
    Sentence(
        "verdict.only",
        lambda verdict: _has_best(verdict) and verdict.complete == 1,
        lambda _: "It is the only one that ran to its end, so there is nothing to compare it with.",
    ),
)


def verdict_line(verdict: Verdict) -> str:
    """The verdict on a study in one paragraph."""
    return " ".join(said(VERDICT, verdict))
