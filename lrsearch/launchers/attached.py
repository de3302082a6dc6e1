"""The jobs of a study that any process has started: seen and ended from another terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from lrsearch.errors import UserError
from lrsearch.launchers import LAUNCHERS
from lrsearch.launchers.base import Job, JobState, Launcher, News, Sweep
from lrsearch.storage.tables import JobRow


class AttachedJobs:
    """The jobs of a study in all clusters.

    `unreachable` has the reasons why clusters cannot be asked from this machine, by the names of
    their launchers; their jobs are as the database has them.
    """

    def __init__(self, rows: Sequence[JobRow], sweep_of: Callable[[], Sweep]) -> None:
        """`rows` are the jobs in the database; `sweep_of` is called where there are any."""
        self.unreachable: dict[str, str] = {}
        self._rows = rows
        self._not_asked: list[JobRow] = []
        self._launchers: list[Launcher] = []
        if rows:
            sweep = sweep_of()
            for (name, _), same in _by_cluster(rows).items():
                self._attach(name, same, sweep)

    def __bool__(self) -> bool:
        return bool(self._rows)

    def jobs(self) -> list[tuple[str, Job]]:
        """Return the jobs that run or wait, each with the name of its launcher."""
        return [
            *((one.name, job) for one in self._launchers for job in one.alive()),
            *((row.launcher, _stored(row)) for row in self._not_asked),
        ]

    def stop(self, with_running: bool) -> int:
        """Cancel the jobs that wait and, with `with_running`, end those that run; return how many.

        Those that run hand their work back first. Raises UserError where a cluster cannot be asked.
        """
        if self.unreachable:
            raise UserError("\n".join(self.unreachable.values()))
        count = 0
        for launcher in self._launchers:
            chosen = [j for j in launcher.alive() if with_running or j.state == JobState.WAITING]
            if chosen:
                launcher.stop(chosen)
            count += len(chosen)
        return count

    def close(self) -> None:
        """Leave the jobs, and release what the launchers hold."""
        for launcher in self._launchers:
            launcher.close()

    def _attach(self, name: str, rows: Sequence[JobRow], sweep: Sweep) -> None:
        """Add a launcher that sees the jobs of one cluster, if it can be asked from here."""
        try:
            launcher: Launcher = LAUNCHERS[name].load()(**rows[0].address)
            launcher.attach(sweep)
            launcher.watch(News(is_stopping=True))
        except KeyError:
            self.unreachable[name] = f"{name} is no launcher of this lrsearch"
        except UserError as error:
            self.unreachable[name] = str(error)
        else:
            self._launchers.append(launcher)
            return
        self._not_asked += rows


def _by_cluster(rows: Sequence[JobRow]) -> dict[tuple[str, str], list[JobRow]]:
    """Group jobs by launcher and address."""
    groups: dict[tuple[str, str], list[JobRow]] = {}
    for row in rows:
        key = (row.launcher, json.dumps(row.address, sort_keys=True))
        groups.setdefault(key, []).append(row)
    return groups


def _stored(row: JobRow) -> Job:
    """Return a job as the database has it."""
    state = JobState.WAITING if row.owner is None else JobState.RUNNING
    owner = None if row.owner is None else row.owner.rsplit("/", 1)[0]
    return Job(row.job_id, state, row.host, row.log, owner)
