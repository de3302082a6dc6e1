"""The range test of a study in the database: asked for once, kept once, tried again when asked."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select
from told_sweep import INFO, digits

from lrsearch.errors import UserError
from lrsearch.queue.auxiliary_claims import AuxiliaryClaims
from lrsearch.queue.endings import Ending
from lrsearch.range_test.stored import found_ranges, keep_ranges
from lrsearch.states import Outcome, RunKind, StudyState, WorkState
from lrsearch.storage.database import Database
from lrsearch.storage.optuna_bridge import Studies, open_database
from lrsearch.storage.tables import AuxiliaryRunRow
from lrsearch.study import study as study_module
from lrsearch.study.follow_up import follow_up, open_again
from lrsearch.study.plan import plan_slots
from lrsearch.study.study import OpenStudy, load_row, open_study

AUTO = ("space.lr=auto", "study.n_trials=3")
RANGE: dict[str, Any] = {"low": 1e-3, "high": 0.5, "log": True}
TEST = {"ramps": [], "trial_samples": 1, "ranges": {"lr": RANGE}}


class Stored:
    """A study on digits, and what is done with it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.studies: Studies
        self.database: Database
        self.studies, self.database = open_database(url)

    def open(self, *overrides: str) -> OpenStudy:
        return open_study(digits(*overrides), INFO, self.database, self.studies)

    def auxiliary_runs(self) -> list[AuxiliaryRunRow]:
        with self.database.session() as session:
            return list(session.scalars(select(AuxiliaryRunRow)))

    def space(self) -> dict[str, Any]:
        return dict(load_row(self.database, "digits").config["space"])

    def end(self, outcome: Ending, test: dict[str, Any] | None = None) -> None:
        """Claims the range test and ends it."""
        study_id = load_row(self.database, "digits").study_id
        claims = AuxiliaryClaims(self.database.session, study_id, "far-away/1/1.00", follow_up)
        claim = claims.claim(False, RunKind.RANGE_TEST)
        assert claim is not None
        claims.finish(
            claim, outcome, {}, 1.0,
            None if test is None else lambda session: keep_ranges(session, study_id, test),
        )  # fmt: skip


@pytest.fixture
def stored(either_url: str) -> Any:
    found = Stored(either_url)
    yield found
    found.studies.close()


def test_a_study_without_auto_has_no_range_test(stored: Stored) -> None:
    stored.open()
    assert stored.auxiliary_runs() == []


def test_it_is_asked_for_once_however_often_the_study_is_submitted(stored: Stored) -> None:
    stored.open(*AUTO)
    stored.open(*AUTO)
    (one,) = stored.auxiliary_runs()
    assert (one.kind, one.state, one.number) == (RunKind.RANGE_TEST, WorkState.OPEN, 0)
    assert stored.space()["lr"] == "auto"


def test_what_is_found_is_the_space_of_every_later_reader(stored: Stored) -> None:
    stored.open(*AUTO)
    before = load_row(stored.database, "digits")
    stored.end(Ending(Outcome.COMPLETE), TEST)
    row = load_row(stored.database, "digits")
    assert row.config["space"]["lr"] == RANGE
    assert found_ranges(row.record) == {"lr": RANGE}
    assert row.record["data"] == before.record["data"]
    assert row.runs > before.runs  # workers load it again


def test_going_on_with_the_same_command_keeps_what_was_found(stored: Stored) -> None:
    stored.open(*AUTO)
    stored.end(Ending(Outcome.COMPLETE), TEST)
    again = stored.open(*AUTO, "study.n_trials=5")
    assert (again.resumed, again.total) == (True, 5)
    assert stored.space()["lr"] == RANGE
    (one,) = stored.auxiliary_runs()
    assert one.outcome == Outcome.COMPLETE
    with pytest.raises(UserError, match=r"space.lr.high: was 0.5, is 0.7"):
        stored.open("study.n_trials=3", "space.lr={low: 1e-3, high: 0.7, log: true}")


def test_nothing_is_lost_where_it_ends_while_the_study_is_submitted_again(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored.open(*AUTO)

    def meanwhile(*arguments: Any) -> Any:
        stored.end(Ending(Outcome.COMPLETE), TEST)
        return plan_slots(*arguments)

    monkeypatch.setattr(study_module, "plan_slots", meanwhile)
    stored.open(*AUTO)
    row = load_row(stored.database, "digits")
    assert row.config["space"]["lr"] == RANGE
    assert found_ranges(row.record) == {"lr": RANGE}
    assert len(row.record["runs"]) == 2


def test_the_range_is_wide_enough_for_what_is_tried_first(stored: Stored) -> None:
    stored.open(*AUTO, "study.try_first=[{lr: 2.0},{lr: 1e-5},{adamw.lr: 1e-3}]")
    stored.end(Ending(Outcome.COMPLETE), TEST)
    assert stored.space()["lr"] == {"low": 1e-5, "high": 2.0, "log": True}
    assert found_ranges(load_row(stored.database, "digits").record)["lr"]["high"] == 2.0


def test_with_a_coupling_it_is_the_rate_at_the_reference_that_is_tried_first(
    stored: Stored,
) -> None:
    stored.open(*AUTO, "coupling.rule=sqrt", "study.try_first=[{lr_ref: 2.0}]")
    stored.end(Ending(Outcome.COMPLETE), TEST)
    assert stored.space()["lr"]["high"] == 2.0


def test_one_that_fails_stops_the_study_until_somebody_goes_on_with_it(stored: Stored) -> None:
    study = stored.open(*AUTO)
    stored.end(Ending(Outcome.FAILED, reason="the loss of sgd falls nowhere"))
    row = load_row(stored.database, "digits")
    assert row.state == StudyState.STOPPED
    assert row.stopped == "the range test has failed: the loss of sgd falls nowhere"
    open_again(stored.database.session, study.study_id)  # as `resume` does
    assert stored.auxiliary_runs()[0].state == WorkState.OPEN
    assert load_row(stored.database, "digits").state == WorkState.OPEN
    stored.end(Ending(Outcome.FAILED, reason="again"))
    stored.open(*AUTO)
    assert stored.auxiliary_runs()[0].state == WorkState.OPEN
    stored.end(Ending(Outcome.COMPLETE), TEST)
    assert stored.space()["lr"] == RANGE
