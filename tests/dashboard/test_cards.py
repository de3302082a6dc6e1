"""What the lists of the dashboard show of a sweep."""

from __future__ import annotations

from told_sweep import ToldSweep

from lrsearch.dashboard.cards import Cards, outcomes
from lrsearch.states import Outcome


def lines(cards: Cards, sweep: ToldSweep) -> list[str]:
    (card,) = cards.read(sweep.database)
    assert card.study_id == sweep.study_id
    plain = card.to_json()
    assert (plain["done"], plain["total"]) == (card.done, card.total)
    return list(plain["lines"])


def test_a_card_has_the_progress_and_the_best_value(sweep: ToldSweep) -> None:
    cards = Cards()
    assert lines(cards, sweep) == ["0 of 6 trials ended", "no trial is complete yet"]
    sweep.trial(0.5), sweep.trial(0.25), sweep.trial(1e-9, Outcome.DIVERGED)
    sweep.begin()
    assert lines(cards, sweep) == [
        "3 of 6 trials ended, 1 running",
        "best val_loss 0.25 (trial 1)",
    ]
    sweep.trial(0.125)
    assert lines(cards, sweep)[1] == "best val_loss 0.125 (trial 4)"


def test_the_best_of_a_metric_to_maximise_is_the_highest(url: str) -> None:
    sweep = ToldSweep(url, 2, "metric.name=val_accuracy", "metric.mode=max")
    sweep.trial(0.75), sweep.trial(0.5)
    assert lines(Cards(), sweep)[1] == "best val_accuracy 0.75 (trial 0)"
    sweep.close()


def test_outcomes_are_those_of_lrsearch_in_words(sweep: ToldSweep) -> None:
    for outcome in (Outcome.COMPLETE, Outcome.DIVERGED, Outcome.OUT_OF_MEMORY, Outcome.PRUNED):
        sweep.trial(0.5, outcome)
    sweep.begin()
    assert outcomes(sweep.database, sweep.study_id) == {
        1: "Diverged",
        2: "Out of memory",
        3: "Pruned",
    }
    assert outcomes(sweep.database, sweep.study_id + 1) == {}
