"""Sentences on the recipe to use, and how sure that is."""

from __future__ import annotations

from lrsearch.analysis.confirmed import headline, progress_words
from lrsearch.analysis.sentence import Sentence, Table
from lrsearch.analysis.study_data import TrialData
from lrsearch.analysis.winner import FEW, Winner
from lrsearch.text.formatting import number, plural, to_error

_NOISY = 2.0
"""A gap of so many typical differences between seeds is likely real."""


def _best(winner: Winner) -> TrialData:
    assert winner.best is not None
    return winner.best


def _recipe(winner: Winner) -> str:
    recipe = _best(winner).recipe
    return "" if recipe is None else recipe.describe(winner.searched)


def _of_search(winner: Winner) -> bool:
    """Whether there is a best trial, of the search alone."""
    return winner.best is not None and not winner.is_confirmed


def _confirmed(winner: Winner) -> str:
    assert winner.confirmation is not None
    return (
        f"The confirmed best is trial {_best(winner).number}, with "
        f"{headline(winner.confirmation)}: {_recipe(winner)}."
    )


def _value(winner: Winner, trial: TrialData) -> str:
    """A value with the digits that the noise between seeds allows, so far as it is known."""
    return to_error(trial.value, winner.typical)


def _found(winner: Winner) -> str:
    which = (
        "The only complete trial"
        if winner.complete == 1
        else f"The best of {plural(winner.complete, 'complete trial')}"
    )
    best = _best(winner)
    return (
        f"{which} is trial {best.number} with {winner.metric.name} {_value(winner, best)} at its "
        f"{winner.metric.at} evaluation: {_recipe(winner)}."
    )


def _compared(winner: Winner) -> bool:
    return _of_search(winner) and winner.runner_up is not None


def _tied(winner: Winner) -> str:
    assert winner.runner_up is not None
    who = (
        f"trial {winner.runner_up.number} has"
        if winner.equal == 1
        else f"{winner.equal} other trials have"
    )
    return f"It is a tie: {who} the same value.{_close(winner)}"


def _runner_up(winner: Winner) -> str:
    second, best = winner.runner_up, _best(winner)
    assert second is not None
    assert winner.gap is not None
    relative = f" ({_share(abs(winner.gap / best.value))})" if best.value else ""
    return (
        f"The runner-up, trial {second.number}, has {_value(winner, second)}: a gap of "
        f"{to_error(winner.gap, winner.typical) if winner.typical else number(winner.gap, 2)}"
        f"{relative}.{_close(winner)}"
    )


def _share(share: float) -> str:
    least = 1e-4
    return f"{number(100 * share, 2)} %" if share >= least else f"under {100 * least:g} %"


def _close(winner: Winner) -> str:
    if winner.complete <= 2:
        return ""
    return (
        f" {winner.close or 'None'} of the other {winner.complete - 1} complete trials came within "
        f"1 % of the best."
    )


def _noise(winner: Winner) -> str:
    """How much two seeds of one recipe differ."""
    assert winner.noise is not None
    assert winner.typical is not None
    return (
        f"Two seeds of one recipe differ by {number(winner.typical, 2)} (one standard deviation, "
        f"from {plural(winner.noise.trials, 'trial')} of "
        f"{plural(winner.noise.recipes, 'recipe')} trained more than once)"
    )


def _is_real(winner: Winner) -> bool:
    return winner.typical is not None and (winner.gap or 0.0) > _NOISY * winner.typical


def _knows_noise(winner: Winner) -> bool:
    return _compared(winner) and winner.noise is not None


WINNER: Table[Winner] = (
    Sentence(
        "winner.none",
        lambda winner: winner.best is None,
        lambda _: "No trial has run to its end, so there is no recipe to recommend.",
    ),
    Sentence("winner.confirmed", lambda winner: winner.is_confirmed, _confirmed),
    Sentence("winner.found", _of_search, _found),
    Sentence(
        "winner.only",
        lambda winner: _of_search(winner) and winner.runner_up is None,
        lambda _: "There is nothing to compare it with.",
    ),
    Sentence("winner.tie", lambda winner: _compared(winner) and winner.gap == 0, _tied),
    Sentence("winner.runner_up", lambda winner: _compared(winner) and winner.gap != 0, _runner_up),
    Sentence(
        "winner.noise_unknown",
        lambda winner: _compared(winner) and winner.noise is None,
        lambda _: (
            "How sure this is cannot be told: each recipe was trained with one seed, so the "
            "noise between seeds is not known."
        ),
    ),
    Sentence(
        "winner.real",
        lambda winner: _knows_noise(winner) and _is_real(winner),
        lambda winner: (
            f"{_noise(winner)}: the gap is more than twice that, so the lead is likely real."
        ),
    ),
    Sentence(
        "winner.chance",
        lambda winner: _knows_noise(winner) and not _is_real(winner),
        lambda winner: (
            f"{_noise(winner)}: the gap is no more than twice that, so it may well be chance."
        ),
    ),
    Sentence(
        "winner.few",
        lambda winner: _compared(winner) and winner.complete < FEW,
        lambda winner: f"With {plural(winner.complete, 'complete trial')} much may still change.",
    ),
    Sentence(
        "winner.optimistic",
        _compared,
        lambda winner: (
            f"It is the best of {winner.complete} on the validation data: on new data expect it to "
            f"be a little worse."
        ),
    ),
    Sentence(
        "winner.to_come",
        lambda winner: _compared(winner) and winner.confirmation is None,
        lambda winner: winner.to_come,
    ),
    Sentence(
        "winner.unconfirmed",
        lambda winner: (
            _compared(winner) and winner.confirmation is not None and winner.confirmation.work_left
        ),
        lambda winner: (
            f"It is not confirmed yet ({progress_words(winner.confirmation)})."
            if winner.confirmation is not None
            else ""
        ),
    ),
    Sentence(
        "winner.broken",
        lambda winner: (
            _compared(winner)
            and winner.confirmation is not None
            and not winner.confirmation.work_left
        ),
        lambda _: "No candidate could be confirmed: a run of each broke on fresh seeds.",
    ),
)
