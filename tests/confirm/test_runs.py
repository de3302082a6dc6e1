"""What follows a search is planned once, in the transaction that ends its last trial."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import select
from told_sweep import INFO, ToldSweep, digits

from lrsearch.analysis.study_data import read_study
from lrsearch.confirm.read import read_confirmation
from lrsearch.queue.auxiliary_claims import AuxiliaryClaim, AuxiliaryClaims
from lrsearch.queue.endings import Ending, reopen_failed
from lrsearch.states import Outcome, RunKind
from lrsearch.storage.tables import AuxiliaryRunRow
from lrsearch.study.follow_up import follow_up, open_again
from lrsearch.study.index import StudyIndex
from lrsearch.study.study import open_study

WANTED = ("confirm.top=2", "confirm.seeds=3")


class Confirmed(ToldSweep):
    """A told sweep of three trials, with its auxiliary runs."""

    def __init__(self, url: str, *overrides: str) -> None:
        super().__init__(url, 3, *overrides)
        self.side = AuxiliaryClaims(self.database.session, self.study_id, "far/1/1.00", follow_up)

    def search(self, values: tuple[float, ...] = (0.3, 0.1, 0.2)) -> None:
        for value in values:
            self.trial(value)

    def rows(self, kind: str = RunKind.CONFIRM) -> list[AuxiliaryRunRow]:
        with self.database.session() as session:
            query = select(AuxiliaryRunRow).where(AuxiliaryRunRow.kind == kind)
            return list(session.scalars(query.order_by(AuxiliaryRunRow.side_run_id)))

    def claim(self) -> AuxiliaryClaim:
        claim = self.side.claim(take_over=False)
        assert claim is not None
        return claim

    def run(self, value: float | None, outcome: str = Outcome.COMPLETE) -> AuxiliaryClaim:
        claim = self.claim()
        self.side.finish(claim, Ending(outcome, value), claim.result, 1.0)
        return claim

    def again(self, *overrides: str, n_trials: int = 3) -> None:
        """The same sweep is run again with changes."""
        settings = digits(f"study.n_trials={n_trials}", *overrides)
        open_study(settings, INFO, self.database, self.studies)


@pytest.fixture
def sweep(either_url: str) -> Iterator[Confirmed]:
    sweep = Confirmed(either_url, *WANTED)
    yield sweep
    sweep.close()


def test_the_best_are_planned_on_the_same_fresh_seeds_when_the_last_trial_ends(
    sweep: Confirmed,
) -> None:
    sweep.search((0.3, 0.1))
    assert sweep.rows() == []
    claim = sweep.trial(0.2)
    rows = sweep.rows()
    assert [row.trial_number for row in rows] == [1, 2] * 3
    assert [row.number for row in rows] == list(range(6))
    assert rows[0].seed == rows[1].seed != rows[2].seed == rows[3].seed
    assert claim.seed not in {row.seed for row in rows}
    assert {row.kind for row in rows} == {RunKind.CONFIRM}


def test_they_change_neither_the_number_of_trials_nor_optunas(sweep: Confirmed) -> None:
    sweep.search()
    for _ in range(6):
        sweep.run(0.1)
    assert sweep.queue.total() == 3
    assert len(read_study(sweep.database, "digits").trials) == 3
    assert sweep.claims.claim(take_over=True) is None


def test_nothing_is_planned_unless_it_is_asked_for(url: str) -> None:
    plain = Confirmed(url)
    plain.search()
    assert plain.rows() == []
    plain.close()


def test_a_pruned_or_diverged_trial_is_no_candidate(sweep: Confirmed) -> None:
    sweep.trial(0.01, Outcome.PRUNED)
    sweep.trial(0.02, Outcome.DIVERGED)
    sweep.trial(0.5)
    assert {row.trial_number for row in sweep.rows()} == {2}


def test_a_study_that_was_stopped_is_confirmed_when_it_is_opened_again(sweep: Confirmed) -> None:
    sweep.search((0.3, 0.1))
    last = sweep.begin()
    sweep.queue.stop("by hand", hand_back=False)
    sweep.claims.finish(last, Ending(Outcome.COMPLETE, 0.2), 1.0)
    assert sweep.rows() == []
    open_again(sweep.database.session, sweep.study_id)
    assert len(sweep.rows()) == 6
    open_again(sweep.database.session, sweep.study_id)
    assert len(sweep.rows()) == 6


def test_the_clearly_worse_lose_the_runs_that_nobody_has_begun(sweep: Confirmed) -> None:
    sweep.search()
    for value in (0.1, 0.9, 0.11):
        sweep.run(value)
    begun = sweep.claim()
    assert (begun.trial_number, sweep.rows()[3].state) == (2, "running")
    sweep.side.finish(begun, Ending(Outcome.COMPLETE, 0.92), {}, 1.0)
    rows = sweep.rows()
    assert [row.outcome for row in rows] == [Outcome.COMPLETE] * 4 + [None, "dropped"]
    sweep.run(0.1)
    with sweep.database.session() as session:
        found = read_confirmation(session, sweep.study_id)
    assert found is not None
    assert found.winner is not None
    assert found.winner.trial == 1
    assert [one.given_up for one in found.candidates] == [False, True]


def test_a_candidate_that_breaks_is_not_trained_on(sweep: Confirmed) -> None:
    sweep.search()
    sweep.run(None, Outcome.DIVERGED)
    assert [row.outcome for row in sweep.rows() if row.trial_number == 1] == [
        Outcome.DIVERGED, "dropped", "dropped",
    ]  # fmt: skip


def test_a_failed_run_that_is_tried_again_brings_its_candidate_back(sweep: Confirmed) -> None:
    sweep.search()
    sweep.run(None, Outcome.FAILED)
    assert reopen_failed(sweep.database.session, sweep.study_id) == 1
    open_again(sweep.database.session, sweep.study_id)
    assert [row.state for row in sweep.rows()] == ["open"] * 6


def test_the_winner_alone_is_tested_once_when_all_runs_have_ended(sweep: Confirmed) -> None:
    sweep.search()
    for value in (0.20, 0.10, 0.22, 0.11, 0.21):
        sweep.run(value)
        assert sweep.rows(RunKind.TEST) == []
    sweep.run(0.12)
    (test,) = sweep.rows(RunKind.TEST)
    assert (test.trial_number, test.result) == (2, {"runs": [1, 3, 5]})
    sweep.run(0.2)
    open_again(sweep.database.session, sweep.study_id)
    assert len(sweep.rows(RunKind.TEST)) == 1
    assert StudyIndex(sweep.database.session).waiting() == []


def test_raising_it_on_a_finished_study_adds_the_runs_that_are_missing(sweep: Confirmed) -> None:
    sweep.search()
    for value in (0.20, 0.18, 0.22, 0.19, 0.21, 0.2):
        sweep.run(value)
    sweep.run(0.2)  # the test
    sweep.again("confirm.top=3", "confirm.seeds=4")
    rows = sweep.rows()
    assert [row.trial_number for row in rows[6:]] == [0, 0, 0, 1, 2, 0]
    assert [row.number for row in rows] == list(range(12))
    for value in (0.5, 0.2, 0.1, 0.19):
        sweep.run(value)
    while (claim := sweep.side.claim(False, RunKind.CONFIRM)) is not None:
        sweep.side.finish(claim, Ending(Outcome.COMPLETE, 0.2), claim.result, 1.0)
    assert (
        len(sweep.rows(RunKind.TEST)) == 2
    )  # other runs than before: the test part is opened again


def test_a_confirmation_can_be_asked_for_and_taken_back_later(url: str) -> None:
    sweep = Confirmed(url)
    sweep.search()
    sweep.again(*WANTED)
    assert len(sweep.rows()) == 6
    sweep.run(0.1)
    sweep.again()
    assert [row.outcome for row in sweep.rows()] == [Outcome.COMPLETE]
    sweep.again(*WANTED)
    assert len(sweep.rows()) == 6
    sweep.close()


def test_a_longer_search_confirms_what_it_finds(sweep: Confirmed) -> None:
    sweep.search()
    for _ in range(6):
        sweep.run(0.1)
    sweep.again(*WANTED, n_trials=4)
    sweep.trial(0.05)
    assert {row.trial_number for row in sweep.rows()} == {1, 2, 3}
    new = [row for row in sweep.rows() if row.trial_number == 3]
    assert len({row.seed for row in sweep.rows()}) == len(new) == 3


def test_the_ranking_of_a_study_begins_with_what_was_confirmed(sweep: Confirmed) -> None:
    sweep.search()
    before = [trial.number for trial in read_study(sweep.database, "digits").ranked]
    for value in (0.20, 0.10, 0.22, 0.11, 0.21, 0.12):
        sweep.run(value)
    study = read_study(sweep.database, "digits")
    assert before == [1, 2, 0]
    assert [trial.number for trial in study.ranked] == [2, 1, 0]
    assert [trial.number for trial in study.by_value] == [1, 2, 0]
    assert study.shown_state == "open"  # the test is still to come
    sweep.run(0.1)
    assert read_study(sweep.database, "digits").shown_state == "done"
