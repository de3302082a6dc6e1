"""SQL answers as a look at every trial does, from the indexes alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_trials import MODES, VALUES, Known, KnownPeers
from sqlalchemy import Engine, create_engine, event, insert
from sqlalchemy.orm import Session

from lrsearch.storage.tables import Base, EvaluationRow, StudyRow, TrialSlotRow
from lrsearch.study.history import StudyHistory
from lrsearch.tuning.pruners.rules import Group, Mode
from lrsearch.tuning.trajectory import Rates

STUDY = 7

HOLES = st.lists(VALUES | st.none(), min_size=1, max_size=4).map(tuple)
BRACKETS = st.none() | st.integers(0, 2)
TRIALS = st.lists(st.builds(Known, HOLES, st.booleans(), BRACKETS), max_size=12)
GROUPS = st.builds(Group, st.integers(1, 5), st.booleans(), BRACKETS)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    on_sqlite = request.param == "sqlite"
    yield from made("sqlite://" if on_sqlite else request.getfixturevalue("module_database"))


@pytest.fixture
def sqlite() -> Iterator[Engine]:
    yield from made("sqlite://")


def made(url: str) -> Iterator[Engine]:
    engine = create_engine(url)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def write(session: Session, trials: Sequence[Known], study_id: int = STUDY) -> None:
    rows = [
        {
            "trial_id": 1000 * study_id + number,
            "step": 10 * evaluation,
            "study_id": study_id,
            "evaluation": evaluation,
            "moment": evaluation,
            "value": value,
            "complete": trial.complete,
            "bracket": trial.bracket,
            "epoch": float(evaluation),
            "lr_start": 0.1,
            "lr_end": 0.1,
            "seconds": 1.0,
            "metrics": {},
        }
        for number, trial in enumerate(trials)
        for evaluation, value in enumerate(trial.values, start=1)
    ]
    if rows:
        session.execute(insert(EvaluationRow), rows)


@given(TRIALS, GROUPS, MODES, st.integers(0, 6), st.integers(1, 3))
@settings(deadline=None, max_examples=60)
def test_counts_and_values_at_ranks(
    engine: Engine, trials: list[Known], group: Group, mode: Mode, first: int, how_many: int
) -> None:
    known = KnownPeers(trials)
    with Session(engine) as session:  # rolled back
        write(session, trials)
        write(session, [Known((-1e9,), True, 0)] * 3, study_id=STUDY + 1)
        peers = StudyHistory(partial(nullcontext, session), STUDY, "min")
        assert peers.count(group) == known.count(group)
        found = peers.ranked(group, mode, first, how_many)
        assert list(found) == known.ranked(group, mode, first, how_many)


@pytest.mark.parametrize(
    ("group", "index"),
    [
        (Group(3), "ix_lrsearch_epochs_rank (study_id=? AND moment=? AND value>?)"),
        (
            Group(3, complete=True),
            "ix_lrsearch_epochs_complete (study_id=? AND moment=? AND complete=? AND value>?)",
        ),
        (
            Group(3, bracket=1),
            "ix_lrsearch_epochs_bracket (study_id=? AND moment=? AND bracket=? AND value>?)",
        ),
    ],
)
def test_an_index_alone_answers_and_nothing_is_sorted(
    sqlite: Engine, group: Group, index: str
) -> None:
    asked: list[tuple[str, Any]] = []

    def remember(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        asked.append((statement, parameters))

    event.listen(sqlite, "before_cursor_execute", remember)
    with Session(sqlite) as session:
        peers = StudyHistory(partial(nullcontext, session), STUDY, "min")
        peers.count(group)
        peers.ranked(group, "min", 2, 2)
        peers.ranked(group, "max", 2, 2)
    event.remove(sqlite, "before_cursor_execute", remember)
    assert len(asked) == 3
    with sqlite.connect() as connection:
        for statement, parameters in asked:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            steps = [row[-1] for row in plan]
            assert steps == [f"SEARCH lrsearch_epochs USING COVERING INDEX {index}"]


def trial(
    number: int, values: Sequence[float], complete: bool = True, evaluations: int = 4
) -> list[Any]:
    """A unit with its evaluations; a quarter of the rate is spent in each quarter."""
    rows: list[Any] = [
        TrialSlotRow(
            study_id=STUDY,
            number=number,
            seed=0,
            trial_id=10 + number,
            trial_number=number,
            value=values[-1] if complete else None,
            recipe={"lr": 0.1, "batch_size": 64, "optimizer": {"name": "sgd"}},
        )
    ]
    for evaluation, value in enumerate(values, start=1):
        rows.append(
            EvaluationRow(
                trial_id=10 + number,
                step=evaluation,
                study_id=STUDY,
                evaluation=evaluation,
                moment=evaluation,
                value=value,
                complete=complete,
                progress=evaluation / evaluations,
                rate_left=0.1 * (1 - evaluation / evaluations),
                epoch=evaluation,
                lr_start=0.1,
                lr_end=0.1,
                seconds=1.0,
            )
        )
    return rows


@pytest.fixture
def standings(engine: Engine) -> Iterator[Session]:
    with Session(engine) as session:  # rolled back
        session.add(StudyRow(study_id=STUDY, name="one", config={}, record={}))
        session.flush()
        session.add_all(
            [
                *trial(0, [0.9, 0.8, 0.7, 0.6]),
                *trial(1, [0.9, 0.5], complete=False),
                *trial(2, [0.9, 0.8, 0.7, 0.65, 0.6, 0.55, 0.5, 0.4], evaluations=8),
                *trial(3, [0.3], complete=False),
            ]
        )
        session.flush()
        yield session


def test_standings_are_compared_at_the_same_share_of_the_training(standings: Session) -> None:
    half = StudyHistory(partial(nullcontext, standings), STUDY, "min").at(0.5, 1 / 4)
    assert {peer.number: (peer.standing.value, peer.standing.earlier) for peer in half} == {
        0: (0.8, 0.9),
        1: (0.5, 0.9),
        2: (0.65, 0.8),
    }
    assert {peer.number: peer.final for peer in half} == {0: 0.6, 1: None, 2: 0.4}
    assert [peer.standing.rates for peer in half] == [Rates(0.1, 0.05, 0.1, 64, "sgd")] * 3


def test_more_is_better_where_it_is(standings: Session) -> None:
    (first, *_) = StudyHistory(partial(nullcontext, standings), STUDY, "max").at(1.0, 1 / 4)
    assert (first.standing.value, first.final) == (-0.6, -0.6)


def test_how_far_the_others_have_come(standings: Session) -> None:
    assert StudyHistory(partial(nullcontext, standings), STUDY, "min").reached() == {
        1: (2, 4),
        3: (1, 4),
    }


def dense(number: int, reports_an_epoch: int, epochs: float) -> list[Any]:
    """An own loop of ten epochs that reports its progress as its value, often or seldom."""
    rows = trial(number, [0.0] * round(reports_an_epoch * epochs), complete=False)
    latest = 0
    for index, row in enumerate(rows[1:], 1):
        row.progress = index / reports_an_epoch / 10
        row.value = row.progress
        moment = index // reports_an_epoch
        row.moment, latest = (moment if moment > latest else None), moment
    return rows


def test_of_several_evaluations_near_a_moment_the_first_after_it_counts(engine: Engine) -> None:
    with Session(engine) as session:  # rolled back
        session.add(StudyRow(study_id=STUDY, name="dense", config={}, record={}))
        session.flush()
        session.add_all([*dense(0, 10, 4.5), *dense(1, 1, 5), *dense(2, 3, 2)])
        session.flush()
        peers = StudyHistory(partial(nullcontext, session), STUDY, "min")
        values = {peer.number: peer.standing.value for peer in peers.at(0.4, 0.1)}
        assert values == {0: pytest.approx(0.4), 1: pytest.approx(0.4)}
        earlier = {peer.number: peer.standing.earlier for peer in peers.at(0.4, 0.1)}
        assert earlier == {0: pytest.approx(0.3), 1: pytest.approx(0.3)}
        assert peers.count(Group(2)) == 3
        assert peers.ranked(Group(2), "min", 0, 9) == pytest.approx([0.2] * 3)
        assert peers.reached() == {0: (4, 10), 1: (5, 10), 2: (2, 10)}
        moments = [[moment for moment, _ in curve.values] for curve in peers.curves(0)]
        assert moments == [[1, 2, 3, 4], [1, 2, 3, 4, 5], [1, 2]]


def test_complete_trials_are_counted_by_their_outcome(standings: Session) -> None:
    peers = StudyHistory(partial(nullcontext, standings), STUDY, "min")
    assert peers.complete() == 0
    for slot in standings.query(TrialSlotRow).filter(TrialSlotRow.number < 2):
        slot.outcome = "complete"
    standings.flush()
    assert peers.complete() == 2


def test_all_that_have_begun_count_however_far_they_have_come(standings: Session) -> None:
    assert StudyHistory(partial(nullcontext, standings), STUDY, "min").begun() == 4
    assert StudyHistory(partial(nullcontext, standings), STUDY + 1, "min").begun() == 0


def test_of_a_long_study_only_the_latest_trials_are_looked_at(engine: Engine) -> None:
    with Session(engine) as session:  # rolled back
        session.add(StudyRow(study_id=STUDY, name="long", config={}, record={}))
        session.flush()
        session.add_all([row for number in range(253) for row in trial(number, [0.5])])
        session.flush()
        peers = StudyHistory(partial(nullcontext, session), STUDY, "min")
        assert peers.begun() == 250
        assert {peer.number for peer in peers.at(1 / 4, 1 / 4)} == set(range(3, 253))
