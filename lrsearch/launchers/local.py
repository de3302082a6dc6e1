"""Starts the workers of a sweep on this machine and looks after them until it is done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sqlalchemy.orm import Session, sessionmaker

from lrsearch.errors import LrsearchError
from lrsearch.files import new_file
from lrsearch.launchers.base import Display
from lrsearch.queue.endings import Endings
from lrsearch.queue.owners import host_name, is_dead
from lrsearch.queue.queue import Queue
from lrsearch.states import StudyState, WorkState
from lrsearch.storage.outages import passes
from lrsearch.study.progress import Progress, Snapshot
from lrsearch.text.shell import command, name_word
from lrsearch.workers.heartbeat import Heard
from lrsearch.workers.here import Here
from lrsearch.workers.places import Place
from lrsearch.workers.process_tree import is_stopped, kill_group, kill_tree
from lrsearch.workers.stall import EXIT_CODE as STALLED
from lrsearch.workers.stall import no_progress

_EARLY_DEATHS = 3
"""So many workers in a row that die before they finish a trial end the sweep."""
_LOG_TAIL = 30


class WorkersFailed(LrsearchError):
    """The workers cannot work; the message has the end of their log."""


@dataclass
class _Worker:
    number: int
    slot: int
    place: Place
    process: subprocess.Popen[bytes]
    log: Path
    heard: Heard
    told: bool = False
    hung: str | None = None
    """Why it was killed here."""


class Launcher:
    """Runs workers until the study has nothing left, and replaces those that die.

    Workers elsewhere may serve the same study: it waits for their trials, too.
    """

    def __init__(
        self,
        name: str,
        here: Here,
        where: list[Place],
        queue: Queue,
        session_of: sessionmaker[Session],
        endings: Endings,
        progress: Progress,
        display: Display,
        logs: Path,
    ) -> None:
        self.name, self.here, self.where = name, here, where
        self.queue, self.progress = queue, progress
        self.session_of, self.endings = session_of, endings
        self.display, self.logs = display, logs
        self.interrupts = 0
        self.timed_out = False
        self._workers: list[_Worker] = []
        self._started = 0
        self._early_deaths = 0
        self._seen = 0
        self._snapshot = Snapshot(
            total=0, running=[], state=StudyState.OPEN, stopped=None, hand_back=False
        )
        self._told: set[str] = set()

    def run(self, timeout: float | None) -> None:
        """Return when all is done, when the study was stopped, or after Ctrl-C.

        Of what ran here nothing is left RUNNING. Raises WorkersFailed when workers die before they
        can work.
        """
        self._reclaim_dead()
        self.queue.tick()
        finished = self.progress.finished()
        self._seen = finished[-1].order if finished else 0
        with self._interruptible():
            try:
                while self._turn(timeout):
                    time.sleep(self.display.interval)
            finally:
                self._kill()
                self._reclaim_dead(blame=False)
                self._look(None)
                self.queue.tick()
                if not self._snapshot.owners:
                    self.queue.rest()

    def _turn(self, timeout: float | None) -> bool:
        """One look at the study and its workers; whether there is more to do."""
        try:
            self._look(timeout)
            if self._is_stopping():
                self._tell_to_stop()
            if self.interrupts > 1:
                self._kill()
            self._kill_silent()
            self._remove_ended()
            if not self._is_stopping():
                self._hire()
        except Exception as error:
            if not passes(error):
                raise
            self._say_once("the database does not answer; training goes on, waiting for it")
            return not (self.interrupts and not self._workers)
        if self._workers:
            return True
        if self.interrupts or self._snapshot.state in (StudyState.STOPPED, StudyState.FAILED):
            return False
        counts = self.queue.work()
        return bool(counts[WorkState.OPEN] or counts[WorkState.RUNNING])

    def _look(self, timeout: float | None) -> None:
        """Show what has happened, and stop the study when its time is up."""
        auxiliary_done = self._snapshot.auxiliary_done
        self._snapshot = self.progress.snapshot()
        new = self.progress.finished(self._seen)
        if new:
            self._seen = new[-1].order
        if new or self._snapshot.auxiliary_done > auxiliary_done:
            self._early_deaths = 0
        self.display.update(self._snapshot, new)
        if self._snapshot.state == StudyState.PAUSED:
            self._say_once(f"paused; to go on: {command('resume', name_word(self.name))}")
        if timeout is not None and self.queue.tick() >= timeout:
            self.timed_out = True
            if self._snapshot.state == StudyState.OPEN:
                self.queue.stop(f"study.timeout={timeout:g} s is up", hand_back=True)

    def _say_once(self, line: str) -> None:
        if line not in self._told:
            self._told.add(line)
            self.display.say(line)

    def _is_stopping(self) -> bool:
        """Whether running trials are to be handed back."""
        return bool(self.interrupts or self.timed_out or self._snapshot.hand_back)

    def _hire(self) -> None:
        """Start a worker for each open piece of work that none of ours is about to claim."""
        idle_places = len(self.where) - len(self._workers)
        if not idle_places or self._snapshot.state != StudyState.OPEN:
            return
        counts = self.queue.work()
        busy = {owner.rsplit("/", 1)[0] for owner in self._snapshot.owners}
        names = [f"{host_name()}/{worker.process.pid}" for worker in self._workers]
        idle = sum(name not in busy for name in names)
        wanted = counts[WorkState.OPEN] - idle
        if not self._workers and counts[WorkState.RUNNING]:
            wanted = max(wanted, 1)  # to take over what others may leave behind
        for _ in range(max(0, min(idle_places, wanted))):
            taken = {worker.slot for worker in self._workers}
            slot = next(k for k in range(len(self.where)) if k not in taken)
            self._workers.append(self._start(slot))

    def _start(self, slot: int) -> _Worker:
        number, place = self._started, self.where[slot]
        self._started += 1
        log = self.logs / f"worker-{number}.log"
        environment = {
            **os.environ,
            **place.environment,
            # URLs may hold a password: not on the command line, where all can read it.
            "LRSEARCH_STORAGE": self.here.url,
            **({"LRSEARCH_CHECKPOINTS": self.here.checkpoints} if self.here.checkpoints else {}),
        }
        heard = Heard()
        words = (
            *("worker", "--sweep", self.name, "--until-empty"),
            *("--parent", str(os.getpid()), "--heartbeat", str(heard.write)),
        )
        with self._log_file(log) as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "lrsearch", *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
                pass_fds=(heard.write,),
            )
        heard.started()
        return _Worker(number, slot, place, process, log, heard)

    def _kill_silent(self) -> None:
        """Kill those in which no thread runs any more, such as one that would end them."""
        for worker in self._workers:
            seconds = worker.heard.silence()
            if seconds is None or worker.process.poll() is not None:
                continue
            if is_stopped(worker.process.pid):
                worker.heard.forgive()
                continue
            worker.hung = no_progress(seconds)
            kill_tree(worker.process.pid)
            worker.process.wait()

    def _log_file(self, log: Path) -> BinaryIO:
        """The file of a worker's output; its work goes on where there is no room for one."""
        try:
            return new_file(log)
        except OSError as error:
            self._say_once(
                f"cannot write to {self.logs}: {error.strerror}; the workers go on without logs"
            )
            return Path(os.devnull).open("wb")

    def _remove_ended(self) -> None:
        """Remove the workers that have ended, and reclaim the work of those that died."""
        for worker in [w for w in self._workers if w.process.poll() is not None]:
            self._reclaim_dead(not self._is_stopping(), worker.hung)
            self._workers.remove(worker)
            worker.heard.close()
            code = worker.process.returncode
            if code == 0:
                continue
            kill_group(worker.process.pid)  # what it had started
            if self._is_stopping():
                continue
            if worker.hung or code == STALLED:
                # The training's fault: of these, not of workers, there may be any number.
                why = worker.hung or "its training made no progress"
                self._say_replaced(worker, f"was ended: {why}")
                continue
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            self._early_deaths += 1
            if self._early_deaths >= _EARLY_DEATHS or code == 2:
                raise WorkersFailed(
                    f"worker {worker.number} ({worker.place.name}) cannot work ({how}):\n"
                    f"{_tail(worker.log)}\n(the whole log: {worker.log})"
                )
            self._say_replaced(worker, f"died ({how})")

    def _say_replaced(self, worker: _Worker, what: str) -> None:
        self.display.say(
            f"worker {worker.number} (process {worker.process.pid}, {worker.place.name}) {what}; "
            f"another takes its place. Its log: {worker.log}"
        )

    def _reclaim_dead(self, blame: bool = True, cause: str | None = None) -> None:
        self.endings.reclaim_dead(self.session_of, is_dead, blame, cause)

    def _tell_to_stop(self) -> None:
        for worker in self._workers:
            if worker.process.poll() is None and not worker.told:
                worker.process.terminate()
                worker.told = True

    def _kill(self) -> None:
        for worker in self._workers:
            if worker.process.poll() is None:
                kill_tree(worker.process.pid)
            worker.process.wait()

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Count Ctrl-C (and SIGTERM) instead of dying of it."""

        def count(number: int, _: object) -> None:
            self.interrupts += 1
            if self.interrupts == 1:
                self.display.say("stopping: running trials are handed back; again to stop at once")

        before = {
            number: signal.signal(number, count) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _tail(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        return "(no log)"
    return "\n".join(lines[-_LOG_TAIL:]) or "(its log is empty)"
