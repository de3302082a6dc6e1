"""Fair shares, by simulated workers that serve studies through the rule and the database."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, select, update
from sqlalchemy.orm import sessionmaker

from lrsearch.queue.endings import Ending
from lrsearch.queue.queue import Queue
from lrsearch.queue.shares import due, in_turn, served
from lrsearch.queue.trial_claims import TrialClaims
from lrsearch.states import Outcome
from lrsearch.storage.database import Database
from lrsearch.storage.optuna_bridge import Studies
from lrsearch.storage.tables import Base, StudyRow
from lrsearch.study.index import StudyIndex


@dataclass(frozen=True)
class Load:
    """A study of the simulation: its weight, and how much there is to do."""

    share: float = 1.0
    length: float = 1.0
    """Seconds of a trial."""
    begins: float = 0.0
    trials: float = float("inf")
    priority: int = 0


@dataclass(frozen=True)
class Competing:
    study_id: int
    priority: int
    share: float
    due: float
    running: int


@dataclass
class Simulation:
    """Workers that are never idle while there is work, and what they did."""

    loads: list[Load]
    workers: int
    claims: list[tuple[float, int]] = field(default_factory=list)
    """The time and the study of each claim."""
    busy: Counter[int] = field(default_factory=Counter)
    """Worker-seconds of each study since all of them compete."""
    idle: list[float] = field(default_factory=list)
    """Times at which a worker found nothing to do."""

    def run(self, seconds: float) -> Simulation:
        competing = select(StudyRow.study_id, StudyRow.priority, StudyRow.share, due())
        begin = [served(k) for k in range(len(self.loads))]
        end = [
            update(StudyRow)
            .where(StudyRow.study_id == k)
            .values(
                finished=StudyRow.finished + 1,
                trial_seconds=StudyRow.trial_seconds + load.length,
            )
            for k, load in enumerate(self.loads)
        ]
        engine = create_engine("sqlite://")
        Base.metadata.create_all(engine)
        session_of = sessionmaker(engine)
        with session_of.begin() as session:
            session.add_all(
                StudyRow(
                    study_id=k, name=str(k), config={}, record={},
                    share=load.share, priority=load.priority,
                )
                for k, load in enumerate(self.loads)
            )  # fmt: skip
        together = max(load.begins for load in self.loads)
        left = {k: load.trials for k, load in enumerate(self.loads)}
        running: Counter[int] = Counter()
        tie = itertools.count()
        events: list[tuple[float, int, int | None]] = [
            (load.begins, next(tie), None) for load in self.loads
        ]
        heapq.heapify(events)
        free = self.workers
        with session_of() as session:
            while events:
                now, _, ended = heapq.heappop(events)
                if now > seconds:
                    break
                if ended is not None:
                    running[ended] -= 1
                    free += 1
                    begun = now - self.loads[ended].length
                    self.busy[ended] += max(0.0, now - max(begun, together))
                    session.execute(end[ended])
                while free:
                    order = in_turn(
                        Competing(*row, running=running[row[0]])
                        for row in session.execute(competing)
                        if left[row[0]] and self.loads[row[0]].begins <= now
                    )
                    if not order:
                        self.idle.append(now)
                        break
                    chosen = order[0].study_id
                    session.execute(begin[chosen])
                    self.claims.append((now, chosen))
                    left[chosen] -= 1
                    running[chosen] += 1
                    free -= 1
                    heapq.heappush(events, (now + self.loads[chosen].length, next(tie), chosen))
        engine.dispose()
        return self

    def parts(self) -> list[float]:
        """The part of all work that each study had since all of them compete."""
        return [self.busy[k] / self.busy.total() for k in range(len(self.loads))]


# Laws

shares = st.sampled_from([0.5, 1.0, 2.0, 3.0, 8.0])
lengths = st.sampled_from([1.0, 2.0, 3.0, 5.0])
crews = st.integers(1, 6)


comers = st.builds(Load, shares, lengths, begins=st.sampled_from([0.0, 10.0]))


@settings(max_examples=8, deadline=None)
@given(crews, st.lists(comers, min_size=2, max_size=4))
def test_the_running_work_of_studies_is_in_proportion_to_their_shares(
    workers: int, loads: list[Load]
) -> None:
    """On the average within one worker, however long their trials are and whenever they came."""
    done = Simulation(loads, workers).run(80.0)
    weight = sum(load.share for load in loads)
    for load, part in zip(loads, done.parts(), strict=True):
        assert abs(workers * part - workers * load.share / weight) < 1
    assert done.idle == []


@settings(max_examples=6, deadline=None)
@given(crews, st.lists(st.builds(Load, shares), min_size=2, max_size=4))
def test_no_study_waits_for_longer_than_its_share_implies(workers: int, loads: list[Load]) -> None:
    done = Simulation(loads, workers).run(40.0)
    weight = sum(load.share for load in loads)
    for k, load in enumerate(loads):
        turns = [at for at, (_, study) in enumerate(done.claims) if study == k]
        longest = max(b - a for a, b in itertools.pairwise([0, *turns, len(done.claims)]))
        assert longest <= 2 * weight / load.share + len(loads) + workers


@settings(max_examples=10, deadline=None)
@given(
    crews,
    st.lists(
        st.builds(Load, shares, lengths, trials=st.integers(0, 12), priority=st.integers(0, 1)),
        min_size=1, max_size=4,
    ),
)  # fmt: skip
def test_no_worker_is_idle_while_there_is_work_and_priority_comes_first(
    workers: int, loads: list[Load]
) -> None:
    done = Simulation(loads, workers).run(1000.0)
    assert Counter(study for _, study in done.claims) == Counter(
        {k: load.trials for k, load in enumerate(loads) if load.trials}
    )
    last = max((now for now, _ in done.claims), default=0.0)
    assert all(now >= last for now in done.idle)
    ranks = [loads[study].priority for _, study in done.claims]
    assert ranks == sorted(ranks, reverse=True)


def test_one_worker_divides_its_time_as_many_do() -> None:
    for workers in (1, 2, 16):
        threefold, single = Simulation([Load(3.0), Load(1.0)], workers).run(64.0).parts()
        assert abs(threefold - 0.75) < 0.02, workers
        assert abs(single - 0.25) < 0.02, workers


def test_a_study_that_comes_later_neither_waits_nor_catches_up() -> None:
    done = Simulation([Load(), Load(begins=100.0)], workers=1).run(140.0)
    since = [study for now, study in done.claims if now >= 100]
    assert since[0] == 1 or since[1] == 1
    assert abs(Counter(since)[0] - Counter(since)[1]) <= 1


def test_a_study_with_longer_trials_gets_fewer_of_them() -> None:
    done = Simulation([Load(length=10.0), Load(length=1.0)], workers=1).run(600.0)
    count = Counter(study for _, study in done.claims)
    assert 8 < count[1] / count[0] < 12


def test_a_worker_serves_the_studies_of_a_database_in_turn(either_url: str) -> None:
    studies = Studies(either_url)
    database = Database(either_url, studies.engine)
    ids = {name: studies.create(name, "min", "val_loss") for name in ("threefold", "single")}
    for name, study_id in ids.items():
        with database.session.begin() as session:
            share = 3.0 if name == "threefold" else 1.0
            session.add(StudyRow(study_id=study_id, name=name, config={}, record={}, share=share))
        Queue(database.session, study_id).add([({}, k) for k in range(6)])
    index, served_ones = StudyIndex(database.session), []
    while waiting := in_turn(index.waiting()):
        study = waiting[0]
        claims = TrialClaims(
            database.session, study.study_id, "me/1/1.00", lambda session, study_id: None
        )
        claim = claims.claim(take_over=False)
        assert claim is not None
        claims.started(claim, {}, {"lr": 0.1}, "cpu", {})
        claims.finish(claim, Ending(Outcome.COMPLETE, 0.5), seconds=2.0)
        served_ones.append(study.name)
    assert Counter(served_ones[:8]) == {"threefold": 6, "single": 2}
    assert served_ones[8:] == ["single"] * 4
    studies.close()


def test_only_studies_that_compete_have_a_part() -> None:
    """Whoever has no work left to begin does not keep others waiting."""
    ended = [Competing(1, 0, 1.0, 0.0, running=0), Competing(2, 0, 1.0, 9.0, running=5)]
    assert [study.study_id for study in in_turn(ended)] == [1, 2]
    assert in_turn([]) == []
