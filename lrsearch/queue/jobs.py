"""The jobs of clusters that serve a study, in the database: any terminal can follow and end them.

A launcher writes a job when it submits it, and the worker in it adds which process it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session, sessionmaker

from lrsearch.storage.clock import database_now
from lrsearch.storage.tables import JobRow

VARIABLE = "LRSEARCH_JOB"
"""The environment variable of a worker in a job: `LAUNCHER/JOB_ID`, such as `slurm/1234_5`."""


class Jobs:
    """The jobs that one launcher has started for one study, in one cluster where that is given."""

    def __init__(
        self,
        session: sessionmaker[Session],
        study_id: int,
        launcher: str,
        address: Mapping[str, Any] | None = None,
        is_read_only: bool = False,
    ) -> None:
        """`address` names the cluster; without it the jobs of all are read.

        With `is_read_only` changes of rows are left to the process that follows the jobs.
        """
        self._session, self._study_id, self._launcher = session, study_id, launcher
        self._address = None if address is None else dict(address)
        self._is_read_only = is_read_only

    def add(self, logs: Mapping[str, str | None]) -> None:
        """Write new jobs, each with the place of its log."""
        with self._session.begin() as session:
            now = session.scalar(select(database_now()))
            session.add_all(
                JobRow(
                    study_id=self._study_id,
                    launcher=self._launcher,
                    job_id=job_id,
                    log=log,
                    address=self._address or {},
                    submitted_at=now,
                )
                for job_id, log in logs.items()
            )

    def rows(self) -> list[JobRow]:
        """Return the jobs that have not been removed, in the order of their submission."""
        with self._session() as session:
            query = select(JobRow).where(*self._own()).order_by(JobRow.submitted_at, JobRow.job_id)
            rows = session.scalars(query)
            return [row for row in rows if self._address in (None, row.address)]

    def remove(self, job_ids: Iterable[str]) -> None:
        """Remove jobs that have ended for good."""
        ended = list(job_ids)
        if self._is_read_only or not ended:
            return
        with self._session.begin() as session:
            session.execute(delete(JobRow).where(*self._own(), JobRow.job_id.in_(ended)))

    def set_log(self, job_id: str, log: str) -> None:
        """Write where the log of a job is, which was not known when the job was added."""
        if self._is_read_only:
            return
        with self._session.begin() as session:
            session.execute(
                update(JobRow).where(*self._own(), JobRow.job_id == job_id).values(log=log)
            )

    def _own(self) -> tuple[Any, ...]:
        return (JobRow.study_id == self._study_id, JobRow.launcher == self._launcher)


def jobs_of(session: Session, study_id: int) -> list[JobRow]:
    """Return the jobs of a study that any launcher has started."""
    query = select(JobRow).where(JobRow.study_id == study_id)
    return list(session.scalars(query.order_by(JobRow.submitted_at, JobRow.job_id)))


def begun(
    session_of: sessionmaker[Session], study_id: int, job: str, owner: str, host: str
) -> bool:
    """Write which worker runs in a job, named as in the environment variable.

    A job that was started again (requeued) has a new worker. Return False, with nothing written,
    where the study has no such job.
    """
    launcher, _, job_id = job.partition("/")
    with session_of.begin() as session:
        written = session.execute(
            update(JobRow)
            .where(
                JobRow.study_id == study_id,
                JobRow.launcher == launcher,
                JobRow.job_id == job_id,
            )
            .values(owner=owner, host=host, started_at=database_now())
            .returning(JobRow.job_id)
        )
        return written.first() is not None
