"""A study whose work is claimed by workers that a test names, and whose leases it ends at will."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from sqlalchemy import update

from lrsearch.queue.auxiliary_claims import AuxiliaryClaim, AuxiliaryClaims
from lrsearch.queue.endings import Endings
from lrsearch.queue.leasing import key
from lrsearch.queue.queue import Queue
from lrsearch.queue.trial_claims import TrialClaim, TrialClaims
from lrsearch.settings import QueueSettings
from lrsearch.storage.database import Database
from lrsearch.storage.optuna_bridge import Studies
from lrsearch.storage.tables import AuxiliaryRunRow, StudyRow, TrialSlotRow
from lrsearch.study.follow_up import follow_up

TERMS = QueueSettings(lease=60.0, max_attempts=3)
Worker = TypeVar("Worker", TrialClaims, AuxiliaryClaims)


class Shop(Generic[Worker]):
    """The study `one`, without work."""

    kind: type[Worker]
    table: type[TrialSlotRow | AuxiliaryRunRow]

    def __init__(self, url: str) -> None:
        self.url = url
        self.studies = Studies(url)
        self.database = Database(url, self.studies.engine)
        self.study_id = self.studies.create("one", "min", "val_loss")
        with self.database.session.begin() as session:
            session.add(StudyRow(study_id=self.study_id, name="one", config={}, record={}))
        self.queue = Queue(self.database.session, self.study_id)

    def worker(self, name: str) -> Worker:
        return self.kind(self.database.session, self.study_id, f"{name}/1/1.00", follow_up, TERMS)

    def claim(self, name: str, take_over: bool = False) -> tuple[Worker, Any]:
        worker = self.worker(name)
        claim = worker.claim(take_over)
        assert claim is not None
        return worker, claim

    def expire(self, claim: TrialClaim | AuxiliaryClaim) -> None:
        """The owner has been silent for longer than its lease."""
        with self.database.session.begin() as session:
            session.execute(
                update(self.table)
                .where(key(self.table) == claim.row_id)
                .values(leased_until=self.table.leased_until - 2 * TERMS.lease)
            )

    def reclaim_dead(self, is_dead: Callable[[str], bool], blame: bool = True) -> None:
        """A parent knows by their processes which owners are dead."""
        endings = Endings(self.study_id, TERMS.max_attempts, follow_up)
        endings.reclaim_dead(self.database.session, is_dead, blame)

    def row(self, claim: TrialClaim | AuxiliaryClaim) -> Any:
        """What the database says of it."""
        with self.database.session() as session:
            return session.get_one(self.table, claim.row_id)

    def close(self) -> None:
        self.studies.close()
