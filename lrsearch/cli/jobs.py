"""The jobs of clusters that serve a study, for the commands `status` and `stop`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lrsearch.errors import UserError
from lrsearch.launchers.attached import AttachedJobs
from lrsearch.launchers.base import Job, Sweep
from lrsearch.queue.jobs import jobs_of
from lrsearch.queue.queue import Queue
from lrsearch.storage.database import Database
from lrsearch.study.index import StudyStatus
from lrsearch.study.progress import Running
from lrsearch.workers.locations import Locations, logs_of


@contextmanager
def attached_jobs(
    database: Database, locations: Locations, study: StudyStatus
) -> Iterator[AttachedJobs]:
    """Yield the jobs of a study."""

    def sweep_of() -> Sweep:
        return Sweep(
            study.name,
            study.study_id,
            locations,
            logs_of(locations.outputs, study.name),
            database.session,
            Queue(database.session, study.study_id),
            endings=None,
        )

    with database.session() as session:
        rows = jobs_of(session, study.study_id)
    jobs = AttachedJobs(rows, sweep_of)
    try:
        yield jobs
    finally:
        jobs.close()


def job_lines(jobs: AttachedJobs, running: Sequence[Running]) -> list[str]:
    """A line for each job: its name, state, machine, trial and log; then what is not known."""
    trial_of = {run.owner.rsplit("/", 1)[0]: run.trial for run in running}

    def line(launcher: str, job: Job) -> str:
        where = f" on {job.host}" if job.host else ""
        at = f", trial {trial_of[job.owner]}" if job.owner in trial_of else ""
        log = f"; log: {job.log}" if job.log else ""
        return f"{launcher} job {job.job_id} {job.state}{where}{at}{log}"

    lines = [line(launcher, job) for launcher, job in jobs.jobs()]
    return [*lines, *(f"not asked: {reason}" for reason in jobs.unreachable.values())]


def job_plain(jobs: AttachedJobs) -> list[dict[str, Any]]:
    """The jobs for programs."""
    return [
        {
            "launcher": launcher,
            "job": job.job_id,
            "state": str(job.state),
            "host": job.host,
            "log": job.log,
            "owner": job.owner,
        }
        for launcher, job in jobs.jobs()
    ]


def stop_jobs(database: Database, locations: Locations, study: StudyStatus, now: bool) -> str:
    """Cancel the jobs of a stopped study that wait and, with `now`, those that run.

    Return it in words; empty where there are none.
    """
    with attached_jobs(database, locations, study) as jobs:
        try:
            count = jobs.stop(with_running=now)
        except UserError as error:
            return f"its jobs are not cancelled, and end where they find nothing to do: {error}"
    if not count:
        return ""
    what = "job is" if count == 1 else "jobs are"
    return f"{count} {'' if now else 'waiting '}{what} cancelled"
