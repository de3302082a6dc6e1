"""A study whose work is claimed by workers that a test names, and whose leases it ends at will."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from sqlalchemy import update

from lrsearch.config.settings import QueueSettings
from lrsearch.queue.auxiliary_claims import SideClaim, SideClaims
from lrsearch.queue.claims import Claim, Claims
from lrsearch.queue.leasing import key
from lrsearch.queue.queue import Queue
from lrsearch.storage.database import Database
from lrsearch.storage.optuna_bridge import Studies
from lrsearch.storage.tables import SideRunRow, StudyRow, UnitRow

TERMS = QueueSettings(lease=60.0, max_attempts=3)
Worker = TypeVar("Worker", Claims, SideClaims)


class Shop(Generic[Worker]):
    """The study `one`, without work."""

    kind: type[Worker]
    table: type[UnitRow | SideRunRow]

    def __init__(self, url: str) -> None:
        self.url = url
        self.studies = Studies(url)
        self.database = Database(url, self.studies.engine)
        self.study_id = self.studies.create("one", "min", "val_loss")
        with self.database.session.begin() as session:
            session.add(StudyRow(study_id=self.study_id, name="one", config={}, record={}))
        self.queue = Queue(self.database.session, self.study_id)

    def worker(self, name: str) -> Worker:
        return self.kind(self.database.session, self.study_id, f"{name}/1/1.00", TERMS)

    def claim(self, name: str, take_over: bool = False) -> tuple[Worker, Any]:
        worker = self.worker(name)
        claim = worker.claim(take_over)
        assert claim is not None
        return worker, claim

    def expire(self, claim: Claim | SideClaim) -> None:
        """The owner has been silent for longer than its lease."""
        with self.database.session.begin() as session:
            session.execute(
                update(self.table)
                .where(key(self.table) == self._id(claim))
                .values(leased_until=self.table.leased_until - 2 * TERMS.lease)
            )

    def row(self, claim: Claim | SideClaim) -> Any:
        """What the database says of it."""
        with self.database.session() as session:
            return session.get_one(self.table, self._id(claim))

    def _id(self, claim: Claim | SideClaim) -> int:
        return claim.unit_id if isinstance(claim, Claim) else claim.side_run_id

    def close(self) -> None:
        self.studies.close()
