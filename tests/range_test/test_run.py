"""Workers at a study whose range of learning rates is still to be found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import local_worker
import pytest
from local_worker import URL, serve
from sqlalchemy import select, update

from lrsearch.analysis.rate_ranges import range_test_of
from lrsearch.analysis.study_data import read_study
from lrsearch.queue.auxiliary_claims import AuxiliaryClaims
from lrsearch.states import RunKind, StudyState, WorkState
from lrsearch.storage.database import Database
from lrsearch.storage.tables import AuxiliaryRunRow
from lrsearch.study.follow_up import follow_up
from lrsearch.study.progress import Progress
from lrsearch.study.study import load_row

QUICK = (
    "+sweep=digits", "train.epochs=4", "pruner=none", "sampler=random", "study.n_trials=4",
    "space.lr=auto", "space.optimizer.only=[sgd]", "space.batch_size.choices=[16,32]",
)  # fmt: skip


@pytest.fixture
def database(own_folder: Path) -> Iterator[Database]:
    database = Database(URL)
    yield database
    database.close()


def submit(*overrides: str) -> int:
    return local_worker.submit(*QUICK, *overrides).study_id


def side_run(database: Database) -> AuxiliaryRunRow:
    with database.session() as session:
        return session.scalars(select(AuxiliaryRunRow)).one()


def rates(database: Database, study_id: int) -> list[float]:
    finished = Progress(database.session, study_id).finished()
    return [float(one.recipe["lr"]) for one in finished if one.recipe]


def test_the_range_is_found_before_the_first_trial_and_every_trial_lies_in_it(
    database: Database,
) -> None:
    study_id = submit()
    serve()
    row = load_row(database, "digits")
    found = row.config["space"]["lr"]
    assert len(rates(database, study_id)) == 4
    assert all(found["low"] <= rate <= found["high"] for rate in rates(database, study_id))
    one = side_run(database)
    assert (one.outcome, one.attempts, one.device) == ("complete", 1, "cpu")
    with database.session() as session:
        assert session.scalar(select(AuxiliaryRunRow.finished_at)) is not None
    test = range_test_of(read_study(database, "digits"))
    assert test is not None
    assert test.ranges == {"lr": found}
    assert test.share <= 1.0
    suggested = test.suggested("sgd")
    assert suggested is not None
    assert suggested.to_dict() == found


def test_while_another_worker_has_it_no_trial_begins_and_nobody_does_it_twice(
    database: Database,
) -> None:
    study_id = submit()
    other = AuxiliaryClaims(database.session, study_id, "far-away/1/1.00", follow_up)
    claim = other.claim(False, RunKind.RANGE_TEST)
    assert claim is not None
    serve(stop_after=10)
    assert rates(database, study_id) == []
    assert side_run(database).attempts == 1
    other.give_back(claim)
    serve()
    assert len(rates(database, study_id)) == 4


def test_from_a_worker_that_fell_silent_it_is_taken_over(database: Database) -> None:
    study_id = submit("queue.lease=1")
    assert (
        AuxiliaryClaims(database.session, study_id, "far-away/1/1.00", follow_up).claim(False)
        is not None
    )
    with database.session.begin() as session:
        session.execute(update(AuxiliaryRunRow).values(leased_until=0.0))
    serve()
    one = side_run(database)
    assert (one.outcome, one.attempts, one.deaths) == ("complete", 2, 1)
    assert len(rates(database, study_id)) == 4


def test_a_worker_that_is_told_to_stop_hands_it_back(database: Database) -> None:
    study_id = submit()
    serve(stop_after=8)
    one = side_run(database)
    assert (one.state, one.owner) == (WorkState.OPEN, None)
    assert load_row(database, "digits").config["space"]["lr"] == "auto"
    serve()
    assert len(rates(database, study_id)) == 4
    assert side_run(database).deaths == 0


def test_a_model_that_learns_at_no_rate_stops_the_study_with_the_reason(
    database: Database, tmp_path: Path
) -> None:
    (tmp_path / "stubborn_model.py").write_text(
        "from lrsearch.models.mlp import MLP\n"
        "class Net(MLP):\n"
        "    def forward(self, x):\n"
        "        return 0.0 * super().forward(x)\n"
    )
    study_id = submit("model._target_=stubborn_model.Net", "~model.hidden")
    serve()
    assert rates(database, study_id) == []
    row = load_row(database, "digits")
    assert row.state == StudyState.STOPPED
    assert "the loss of sgd falls at no learning rate" in str(row.stopped)
    assert "Traceback" not in str(row.stopped)


def test_code_of_the_user_that_raises_is_shown(database: Database, tmp_path: Path) -> None:
    (tmp_path / "broken_model.py").write_text(
        "from lrsearch.models.mlp import MLP\n"
        "class Net(MLP):\n"
        "    def forward(self, x):\n"
        "        raise ValueError('no such layer')\n"
    )
    submit("model._target_=broken_model.Net", "~model.hidden")
    serve()
    assert "no such layer" in str(load_row(database, "digits").stopped)
