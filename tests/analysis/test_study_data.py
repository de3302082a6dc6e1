"""Reading a study: whole, as much as findings and figures need, or some of its trials."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from told_sweep import ToldSweep

from lrsearch.analysis import study_data as module
from lrsearch.analysis.findings import findings
from lrsearch.analysis.study_data import (
    StudyData,
    each_trial,
    read_study,
    read_trials,
    shown_curves,
)
from lrsearch.errors import UserError
from lrsearch.plots.interactive.study import CURVES, RATES, study_figures
from lrsearch.states import Outcome

EVALUATIONS = 7


@pytest.fixture(autouse=True)
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """The study is large beside what is shown of it."""
    for name, value in (("MOST_CURVES", 4), ("MOST_POINTS", 20), ("WHOLE_CURVES", 1)):
        monkeypatch.setattr(module, name, value)


def filled(url: str) -> ToldSweep:
    """A study, and a neighbour that is not read."""
    other = ToldSweep(url, 1, "study.name=other")
    other.trial(0.01, evaluations=3)
    other.close()
    sweep = ToldSweep(url, 12)
    for number in range(8):
        sweep.trial(0.5 + number / 10, evaluations=EVALUATIONS)
    sweep.trial(3.0, Outcome.PRUNED, evaluations=2)
    sweep.trial(None, Outcome.DIVERGED, evaluations=0)
    return sweep


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToldSweep]:
    """The study on SQLite; nothing here changes it."""
    sweep = filled(f"sqlite:///{tmp_path_factory.mktemp('filled') / 'study.db'}")
    yield sweep
    sweep.close()


def whole_and_thinned(sweep: ToldSweep) -> tuple[StudyData, StudyData]:
    return read_study(sweep.database, "digits"), read_study(sweep.database, "digits", thinned=True)


def test_a_thinned_study_has_of_each_trial_its_first_best_and_last_evaluation(
    either_url: str,
) -> None:
    sweep = filled(either_url)
    whole, thinned = whole_and_thinned(sweep)
    assert sum(len(trial.curve) for trial in thinned.trials) < sum(
        len(trial.curve) for trial in whole.trials
    )
    for trial, full in zip(thinned.trials, whole.trials, strict=True):
        assert all(point in full.curve for point in trial.curve)
        if full.curve:
            ends = {full.curve[0].index, full.curve[-1].index}
            assert ends <= {point.index for point in trial.curve}
            values = [point.value for point in full.curve[1:] if point.value is not None]
            assert min(values) in [point.value for point in trial.curve]
    assert tuple(each_trial(sweep.database, whole)) == whole.trials
    assert read_trials(sweep.database, "digits", [3]).trials == whole.trials[3:4]
    sweep.close()


def test_what_is_found_in_a_thinned_study_is_what_is_found_in_the_whole(sweep: ToldSweep) -> None:
    whole, thinned = whole_and_thinned(sweep)
    assert findings(thinned).sentences() == findings(whole).sentences()


def test_curves_are_drawn_of_the_best_and_of_others_over_the_whole_search(
    sweep: ToldSweep,
) -> None:
    _, thinned = whole_and_thinned(sweep)
    shown = [trial.number for trial in shown_curves(thinned)]
    assert shown == [0, 1, 2, 6]
    curves = study_figures(thinned, findings(thinned))[CURVES]
    drawn = {label[0] for trace in curves.data for label in trace.customdata if label is not None}
    assert drawn == set(shown)


def test_the_best_trial_keeps_all_its_rates(sweep: ToldSweep) -> None:
    _, thinned = whole_and_thinned(sweep)
    assert len(thinned.ranked[0].curve) == EVALUATIONS
    values, *rates = study_figures(thinned, findings(thinned))[RATES].data
    assert len(values.x) == EVALUATIONS
    assert max(len(trace.x) for trace in rates) >= 2 * EVALUATIONS


def test_a_study_that_is_not_large_is_read_whole(
    sweep: ToldSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_CURVES", 10)
    monkeypatch.setattr(module, "MOST_POINTS", 8 * EVALUATIONS + 2)
    whole, thinned = whole_and_thinned(sweep)
    assert thinned == whole
    assert shown_curves(whole) == list(whole.trials)


def test_some_trials_are_read_alone_as_in_the_whole(sweep: ToldSweep) -> None:
    whole = read_study(sweep.database, "digits")
    some = read_trials(sweep.database, "digits", [8, 2])
    assert some.trials == (whole.trials[2], whole.trials[8])
    assert (some.total, some.config) == (whole.total, whole.config)
    with pytest.raises(UserError, match="no trial 10; there: 0 to 9"):
        read_trials(sweep.database, "digits", [2, 10])


def test_trials_one_by_one_are_those_of_the_whole(
    sweep: ToldSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BATCH", 3)
    study = read_study(sweep.database, "digits", curves=False)
    assert all(trial.curve == () for trial in study.trials)
    assert tuple(each_trial(sweep.database, study)) == read_study(sweep.database, "digits").trials
