"""Sentences on the best against the last evaluation of the leading trials."""

from __future__ import annotations

from lrsearch.analysis.best_and_last import SHARE_OF_GAIN, BestAndLast, Phase, TwoEvaluations
from lrsearch.analysis.sentence import Sentence, Table
from lrsearch.text.formatting import listed, number, percent, to_error

PHASES: dict[Phase, str] = {
    "warm-up": ", in its warm-up",
    "rise": ", while its learning rate rose",
    "constant": ", at a constant learning rate",
    "cut": ", after a cut of its learning rate",
    "decay": ", in the decay of its learning rate",
}


def _recommended(found: BestAndLast) -> TwoEvaluations:
    assert found.recommended is not None
    return found.recommended


def _place(one: TwoEvaluations) -> str:
    """Where the best evaluation is: `epoch 2 of 30 (7 % of the training, in its warm-up)`."""
    phase = "" if one.phase is None else PHASES[one.phase]
    share = f"{percent(one.share)} of the training{phase}"
    return f"epoch {number(one.epoch)} of {number(one.last_epoch)} ({share})"


def _value(found: BestAndLast, value: float) -> str:
    return f"{found.metric.name} {to_error(value, found.deviation)}"


def _evidence(found: BestAndLast) -> str:
    """By what the difference is judged."""
    if found.deviation is None:
        return (
            f"The noise between seeds is not known; by rule of thumb a difference counts that is "
            f"more than {percent(SHARE_OF_GAIN)} of the gain since the first evaluation"
        )
    source = "the confirmation's runs" if found.from_confirmation else "recipes trained twice"
    return (
        f"That is more than noise between seeds explains (standard deviation "
        f"{number(found.deviation, 2)}, from {source})"
    )


def _is_at(at: str, found: BestAndLast) -> bool:
    return found.recommended is not None and found.recommended.differs and found.metric.at == at


def _best_counts(found: BestAndLast) -> str:
    one = _recommended(found)
    kept = (
        "The weights that are kept are those of that evaluation"
        if found.keeps_weights
        else "Keep its weights at that evaluation"
    )
    return (
        f"WARNING: trial {one.trial} counts by its best evaluation, {_value(found, one.best)} at "
        f"{_place(one)}; its last one has {to_error(one.last, found.deviation)}. "
        f"{_evidence(found)}. {kept}: the recipe trained to its end is worse."
    )


def _ends_better(found: BestAndLast) -> bool:
    one, other = found.recommended, found.ends_best
    if one is None or other is None or found.metric.at != "best":
        return False
    return one.differs and other.trial != one.trial


def _by_the_last(found: BestAndLast) -> str:
    assert found.ends_best is not None
    return (
        f"By the last evaluation (metric.at=last) trial {found.ends_best.trial} is the best, with "
        f"{_value(found, found.ends_best.last)}."
    )


def _last_counts(found: BestAndLast) -> str:
    one = _recommended(found)
    end = "stopped" if found.stops_early else "ended"
    return (
        f"WARNING: trial {one.trial} was better before it {end}: {_value(found, one.best)} at "
        f"{_place(one)}, and {to_error(one.last, found.deviation)} at its last evaluation, which "
        f"counts. {_evidence(found)}. A shorter training may do better, or metric.at=best, which "
        f"takes the best evaluation and its weights."
    )


def _others(found: BestAndLast) -> str:
    others = [str(one.trial) for one in found.others]
    trials = f"trial {others[0]}" if len(others) == 1 else f"trials {listed(others)}"
    was = "was" if len(others) == 1 else "were"
    evidence = "" if found.recommended and found.recommended.differs else f" {_evidence(found)}."
    return (
        f"Of the other leading trials, {trials} {was} clearly better before the last evaluation."
        f"{evidence}"
    )


BEST_AND_LAST: Table[BestAndLast] = (
    Sentence(
        "best_and_last.best", lambda found: _is_at("best", found), _best_counts, is_warning=True
    ),
    Sentence("best_and_last.ends_best", _ends_better, _by_the_last),
    Sentence(
        "best_and_last.last", lambda found: _is_at("last", found), _last_counts, is_warning=True
    ),
    Sentence("best_and_last.others", lambda found: bool(found.others), _others),
)
