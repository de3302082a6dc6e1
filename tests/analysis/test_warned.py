"""Doubts about a study as a whole."""

from __future__ import annotations

from synthetic import recipe, study_of, trial

from lrsearch.analysis.warned import find_warned


def test_the_warning_of_the_best_trial_is_the_one_that_is_told() -> None:
    trials = [
        trial(0, recipe(0.1), 0.5, warning="first"),
        trial(1, recipe(0.2), 0.1, warning="of the\n best"),
    ]
    warned = find_warned(study_of(trials))
    assert (warned.trials, warned.first, warned.line) == (2, 1, "of the best")
    assert find_warned(study_of([trial(0, recipe(), 0.5)])).trials == 0
