"""The protocol of launchers, which start the workers of a sweep and look after them."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from sqlalchemy.orm import Session, sessionmaker

from lrsearch.errors import LrsearchError
from lrsearch.queue.jobs import Jobs
from lrsearch.queue.queue import Queue
from lrsearch.settings import RuntimeSettings, Settings
from lrsearch.study.progress import Finished, Snapshot
from lrsearch.workers.locations import Locations

if TYPE_CHECKING:
    from lrsearch.queue.endings import Endings  # imports Optuna, which takes a second


class Display(Protocol):
    """Shows snapshots of a sweep."""

    interval: float
    """Seconds between two updates; each costs the workers some time."""

    def update(self, snapshot: Snapshot, new: list[Finished]) -> None:
        """Show the state of the sweep, and the trials that have ended since the last call."""

    def say(self, line: str) -> None:
        """Print a line that stays on the screen."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...


class WorkersFailed(LrsearchError):
    """Workers die before they finish a trial; the message has the end of a log."""


class JobState(StrEnum):
    """State of a worker's process or job."""

    WAITING = "waiting"
    """It waits for a machine, or starts."""
    RUNNING = "running"


@dataclass(frozen=True)
class Job:
    """A worker that a launcher has started and that has not ended: a process, or a job."""

    job_id: str
    """Process id, or the job's name in the cluster."""
    state: JobState
    host: str | None = None
    """Machine on which it runs, once that is known."""
    log: str | None = None
    """A file, or a command that prints it."""
    owner: str | None = None
    """Owner name of its worker, without the start time of the process, once that is known."""
    is_starting: bool = False
    """Whether it runs and its worker has not begun to look for work."""


@dataclass(frozen=True)
class News:
    """What the supervisor has seen of the sweep since the launcher last looked after its jobs."""

    is_stopping: bool = False
    """Whether the workers have been told to hand their work back."""
    ended_well: bool = False
    """Whether any work has ended other than by the death of its worker."""


@dataclass(frozen=True)
class Sweep:
    """The sweep for which a launcher starts workers."""

    name: str
    study_id: int
    locations: Locations
    logs: Path
    """Folder of log files."""
    session_of: sessionmaker[Session]
    queue: Queue
    endings: Endings | None
    """How the work of dead workers ends; None where this process only looks at the jobs of
    others, and changes nothing in the database."""
    say: Callable[[str], None] = field(default=lambda line: None)
    """Print a line for the user that stays on the screen."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Further environment variables of worker processes."""
    patience: float = math.inf
    """Seconds for which a database that does not answer is waited for."""
    said: set[str] = field(default_factory=set)
    """What `say_once` has said."""

    def say_once(self, line: str, key: str | None = None) -> None:
        """Print a line, unless one of the same `key`, by default the line itself, was printed."""
        if (key or line) not in self.said:
            self.said.add(key or line)
            self.say(line)

    def jobs(self, launcher: str, address: Mapping[str, Any]) -> Jobs:
        """Return the jobs that a launcher has in the cluster at an address."""
        is_read_only = self.endings is None
        return Jobs(self.session_of, self.study_id, launcher, address, is_read_only)

    def reclaim_dead(
        self,
        is_dead: Callable[[str], bool],
        blame: bool = True,
        cause: str | None = None,
        out_of_memory: bool = False,
    ) -> set[tuple[str, int]]:
        """Reclaim the work of dead owners, as `Endings.reclaim_dead` does, and return it."""
        if self.endings is None:
            return set()
        return self.endings.reclaim_dead(self.session_of, is_dead, blame, cause, out_of_memory)


class Launcher(Protocol):
    """Starts the workers of one sweep, and looks after them.

    Its constructor takes the parameters of its entry in LAUNCHERS. `check` comes before anything is
    stored; `attach` names the sweep, also where another process has started its jobs: then the
    launcher was made with the `address` of these jobs alone.
    """

    name: ClassVar[str]

    @property
    def outlives(self) -> bool:
        """Whether its workers go on when the terminal that started them is closed."""

    def check(self, settings: Settings, runtime: RuntimeSettings) -> None:
        """Check what its workers need. Raises UserError."""

    def attach(self, sweep: Sweep) -> None:
        """Set the sweep that it serves."""

    def describe(self) -> str:
        """Return in one line what it starts: `4 jobs of 1 GPU each on SLURM`."""

    def most(self) -> int:
        """Return the largest number of workers at a time."""

    def start(self, count: int) -> None:
        """Start `count` more workers."""

    def watch(self, news: News) -> None:
        """Look after the workers: notice those that have ended, and reclaim their work.

        Raises WorkersFailed when they die before they finish a trial.
        """

    def alive(self) -> Sequence[Job]:
        """Return the workers that run or wait to run, as of the last `watch`."""

    def stop(self, jobs: Sequence[Job], at_once: bool = False) -> None:
        """Have workers hand their work back and end, or end them at once; cancel waiting jobs.

        The supervisor calls it at each turn until none is alive.
        """

    def close(self) -> None:
        """Release what it holds; called once, when no worker is left or the jobs are left alone."""


def idle(jobs: Sequence[Job], owners: Collection[str]) -> int:
    """Return the number of workers that own no work, and so are about to claim some."""
    busy = {owner.rsplit("/", 1)[0] for owner in owners}
    return sum(job.owner is None or job.owner not in busy for job in jobs)
